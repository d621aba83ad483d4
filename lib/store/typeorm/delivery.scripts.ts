import { JobDeliveryEntity } from '../../entities/job-delivery.entity.js';
import { EXTRA } from '../../model/extras.js';
import { CHANGES_SQL, query, type Row, type Script } from '../dialects/sql.js';
import {
  STATUS_HOOK,
  type DeliveryEnd,
  type GivenUp,
  type LastEnd,
  type LanePage,
  type TakenDelivery,
} from '../webhooks.js';
import { EVENT_COLUMNS, eventOfRow } from './event.rows.js';
import { laneOfHook } from './event.scripts.js';
import type { TableNames } from './table-names.js';
import { WebhookScripts } from './webhook.scripts.js';

/** Receivers that one look sees. */
const MOST_LANES = 1000;
/** So often whoever sends a delivery may vanish; from then on each time is a try. */
const MOST_LOST = 3;
/** Deliveries of an endpoint that is gone, of which one step deletes so many. */
const REMOVED_AT_ONCE = 500;
/** Of the jobs that one step takes, as they were: each may be a megabyte. */
const TAKEN_BYTES = 8_000_000;

/** What of a row {@link deliveryOfRow} reads. */
export const DELIVERY_COLUMNS = [
  'id',
  'target',
  'lane',
  'due_at_ms',
  'job_seq',
  'sequence',
  'job_id',
  'tenant_id',
  'event',
  'url',
  'status',
  'attempts',
  'lost',
  'holder',
  'lease_until_ms',
  'created_at_ms',
  'updated_at_ms',
  'answer',
] as const;

// A driver gives rows as objects, in which no name may be there twice.
const HAPPENED = Object.keys(EVENT_COLUMNS)
  .map((name) => `happened.${name} AS happened_${name}`)
  .join(', ');

/** Deliveries on their way: who sends which, and how they end. */
export class DeliveryScripts {
  readonly #t: TableNames;
  readonly #endpoints: WebhookScripts;
  readonly #lanesSql: string;
  readonly #freeSql: string;

  constructor(tables: TableNames) {
    this.#t = tables;
    this.#endpoints = new WebhookScripts(tables);
    const { deliveries, words } = tables;
    const isEnabled = (id: string): string =>
      `COALESCE((SELECT hook.is_enabled FROM ${tables.webhooks} AS hook WHERE hook.id = ${id}), 1)`;
    const lanes = words.eachWithLeast({
      table: deliveries,
      index: tables.index('job_deliveries_lane'),
      columns: ['lane', 'due_at_ms'],
      most: MOST_LANES,
    });
    this.#lanesSql = `SELECT lanes.lane, lanes.due_at_ms, ${isEnabled('lanes.lane')},
        (SELECT one.tenant_id FROM ${deliveries} AS one WHERE one.lane = lanes.lane LIMIT 1)
      FROM (${lanes}) AS lanes ORDER BY lanes.lane`;
    // The one before it, for the same job and receiver, holds it back while it is not over. So it is never
    // sent before any that is older, but for one that is sent once more; and what is over is not read again.
    // Asked of each row by itself: planners make of NOT EXISTS a walk through all deliveries there have been.
    const formerIs = (condition: string): string =>
      `(SELECT former.lane FROM ${deliveries} AS former${words.using(tables.index('job_deliveries_order'))}
          WHERE former.job_seq = due.job_seq AND former.target = due.target AND former.sequence ${condition})`;
    const isFree = `${formerIs('< due.sequence ORDER BY former.sequence DESC LIMIT 1')} IS NULL`;
    // By its number, which mostly has no gap, first where all that come later would be read to find it.
    const isFreeByRow = words.startsAtRows
      ? isFree
      : `CASE WHEN ${formerIs('= due.sequence - 1')} IS NOT NULL THEN 0 WHEN ${isFree} THEN 1 ELSE 0 END = 1`;
    this.#freeSql = `SELECT due.id, COALESCE((SELECT OCTET_LENGTH(happened.job) FROM ${tables.events} AS happened
          WHERE happened.job_seq = due.job_seq AND happened.sequence = due.sequence), 0)
      FROM ${deliveries} AS due${words.using(tables.index('job_deliveries_lane'))}
      WHERE due.lane = ? AND due.due_at_ms <= ? AND (due.lease_until_ms IS NULL OR due.lease_until_ms <= ?)
        AND ${isFreeByRow}
        AND ${isEnabled('?')} = 1
      ORDER BY due.due_at_ms ${words.limit} ${words.skipLocked}`;
  }

  *lanes(after: string): Script<LanePage> {
    const rows = yield* query(this.#lanesSql, [after]);
    return {
      lanes: rows
        .filter(([, , isEnabled]) => Number(isEnabled) === 1)
        .map(([lane, dueAtMs, , tenantId]) => ({
          lane: String(lane),
          dueAtMs: Number(dueAtMs),
          tenantId: String(tenantId),
        })),
      next: rows.length < MOST_LANES ? undefined : String(rows.at(-1)?.[0]),
    };
  }

  *take(
    wanted: readonly { readonly lane: string; readonly most: number }[],
    holder: string,
    leaseMs: number,
    nowMs: number,
  ): Script<readonly TakenDelivery[]> {
    const ids: string[] = [];
    let bytes = 0;
    for (const { lane, most } of wanted) {
      const rows = yield* query(this.#freeSql, [lane, nowMs, nowMs, lane, most]);
      for (const [id, size] of rows) {
        bytes += Number(size);
        if (ids.length === 0 || bytes <= TAKEN_BYTES) {
          ids.push(String(id));
        }
      }
    }
    if (ids.length === 0) {
      return [];
    }
    const those = JSON.stringify(ids);
    const { deliveries, webhooks, events, words } = this.#t;
    // A process that was not heard of again has perhaps sent nothing: that was no try, unless it happens
    // again and again. MySQL sees the new value of a column that is set before.
    yield {
      sql: `UPDATE ${deliveries} SET
         attempts = attempts + CASE WHEN holder IS NULL OR lost >= ${MOST_LOST} THEN 1 ELSE 0 END,
         lost = lost + CASE WHEN holder IS NULL THEN 0 ELSE 1 END,
         holder = ?, lease_until_ms = ?, updated_at_ms = ?
       WHERE id ${words.amongTexts}`,
      params: [holder, nowMs + leaseMs, nowMs, those],
      deferred: true,
    };
    const rows = yield* query(
      `SELECT sent.id, sent.target, sent.lane, sent.job_seq, sent.attempts, sent.event,
         COALESCE(sent.url, hook.url), hook.secrets, COALESCE(hook.is_declared, 0),
         ${HAPPENED}, sent.lost, hook.updated_at_ms, sent.tenant_id
       FROM ${deliveries} AS sent
       LEFT JOIN ${webhooks} AS hook ON hook.id = sent.target
       LEFT JOIN ${events} AS happened
         ON happened.job_seq = sent.job_seq AND happened.sequence = sent.sequence
       WHERE sent.id ${words.amongTexts}`,
      [those],
    );
    return rows.map((row) => takenOfRow(row, holder));
  }

  /** What somebody else holds by now, or sends again, stays as it is. */
  *settle(ends: readonly DeliveryEnd[], nowMs: number): Script<void> {
    for (const over of ['delivered', 'failed'] as const) {
      const those = ends.filter(({ status }) => status === over);
      yield* this.#end(those, over, nowMs);
    }
    for (const end of ends.filter(({ status }) => status === 'pending')) {
      const dueAtMs = nowMs + end.againInMs;
      yield* query(
        `UPDATE ${this.#t.deliveries}
         SET due_at_ms = ?, lost = 0, holder = NULL, lease_until_ms = NULL, updated_at_ms = ?, answer = ?
         WHERE id = ? AND holder = ?`,
        [dueAtMs, nowMs, end.answer, end.id, end.holder],
      );
      const [changes] = yield* query(CHANGES_SQL);
      if (Number(changes?.[0]) === 1) {
        // What waits behind it would be looked at in vain until then.
        yield* query(
          `UPDATE ${this.#t.deliveries} SET due_at_ms = ?
           WHERE job_seq = ? AND target = ? AND lane IS NOT NULL AND due_at_ms < ?`,
          [dueAtMs, end.jobSeq, end.target, dueAtMs],
        );
      }
    }
  }

  /** It was no try. */
  *release(id: string, answer: string, holder: string, nowMs: number): Script<void> {
    yield* query(
      `UPDATE ${this.#t.deliveries}
       SET attempts = attempts - 1, holder = NULL, lease_until_ms = NULL, updated_at_ms = ?, answer = ?
       WHERE id = ? AND holder = ?`,
      [nowMs, answer, id, holder],
    );
  }

  /**
   * Whoever sent it has ended. That was no try, unless it happens again and again, as with those who are not
   * heard of again. MySQL sees the new value of a column that is set before.
   */
  *cutOff(id: string, holder: string, nowMs: number): Script<void> {
    yield* query(
      `UPDATE ${this.#t.deliveries}
       SET attempts = attempts - CASE WHEN lost >= ${MOST_LOST} THEN 0 ELSE 1 END, lost = lost + 1,
         holder = NULL, lease_until_ms = NULL, updated_at_ms = ?
       WHERE id = ? AND holder = ?`,
      [nowMs, id, holder],
    );
  }

  /** The last try of a delivery has failed: its receiver is told nothing any more. */
  *giveUp(end: LastEnd, nowMs: number): Script<GivenUp> {
    const held = yield* query(`SELECT 1 FROM ${this.#t.deliveries} WHERE id = ? AND holder = ?`, [
      end.id,
      end.holder,
    ]);
    if (held.length === 0) {
      return {};
    }
    if (end.target === STATUS_HOOK) {
      yield* this.#dropHook(end.jobSeq, end.answer, nowMs);
      return { isHookDropped: true };
    }
    const disabled = yield* this.#endpoints.disable(end.target, end.reason, end.asOfMs, nowMs);
    if (disabled !== undefined || (yield* this.#endpoints.find(end.target))?.isEnabled !== 1) {
      yield* this.#end([end], 'failed', nowMs);
      return { disabled };
    }
    // Somebody has mended it while this was under way.
    yield* query(
      `UPDATE ${this.#t.deliveries} SET due_at_ms = ?, attempts = 0, lost = 0,
         holder = NULL, lease_until_ms = NULL, updated_at_ms = ?, answer = ?
       WHERE id = ? AND holder = ?`,
      [nowMs, nowMs, end.answer, end.id, end.holder],
    );
    return {};
  }

  /** What waits for a status hook that is gone has failed; no event of the job is told it any more. */
  *#dropHook(jobSeq: number, answer: string, nowMs: number): Script<void> {
    // The row first: whoever changes the job now has said what there is to tell by then.
    yield* query(
      `UPDATE ${this.#t.rows}
       SET extras = extras - ${EXTRA.hook} + ${EXTRA.hookDropped} + (CASE WHEN extras & ${EXTRA.events} = 0 THEN ${EXTRA.events} ELSE 0 END)
       WHERE seq = ? AND extras & ${EXTRA.hook} <> 0`,
      [jobSeq],
    );
    yield* query(
      `UPDATE ${this.#t.deliveries} SET status = 'failed', lane = NULL, due_at_ms = NULL,
         holder = NULL, lease_until_ms = NULL, updated_at_ms = ?, answer = ?
       WHERE job_seq = ? AND target = ? AND lane IS NOT NULL`,
      [nowMs, answer, jobSeq, STATUS_HOOK],
    );
  }

  *find(id: string): Script<JobDeliveryEntity | undefined> {
    const rows = yield* query(
      `SELECT ${DELIVERY_COLUMNS.join(', ')} FROM ${this.#t.deliveries} WHERE id = ?`,
      [id],
    );
    return rows.map(deliveryOfRow)[0];
  }

  *redeliver(id: string, nowMs: number): Script<JobDeliveryEntity | undefined> {
    const found = yield* this.find(id);
    if (found === undefined || found.status === 'pending' || found.jobSeq === 0) {
      return undefined;
    }
    const lane =
      found.target === STATUS_HOOK ? laneOfHook(found.url ?? '', found.tenantId) : found.target;
    yield* query(
      `UPDATE ${this.#t.deliveries} SET status = 'pending', lane = ?, due_at_ms = ?, attempts = 0,
         lost = 0, holder = NULL, lease_until_ms = NULL, updated_at_ms = ?
       WHERE id = ? AND status <> 'pending'`,
      [lane, nowMs, nowMs, id],
    );
    const [changes] = yield* query(CHANGES_SQL);
    return Number(changes?.[0]) === 1 ? yield* this.find(id) : undefined;
  }

  /** Deletes some of the deliveries of an endpoint that is gone; whether there may be more. */
  *removeOf(target: string): Script<boolean> {
    const { deliveries, words } = this.#t;
    yield* query(words.deleteSome(deliveries, 'id', 'target = ?', REMOVED_AT_ONCE), [target]);
    const [changes] = yield* query(CHANGES_SQL);
    return Number(changes?.[0]) >= REMOVED_AT_ONCE;
  }

  /** Many at once, with the answer of each. */
  *#end(ends: readonly DeliveryEnd[], status: 'delivered' | 'failed', nowMs: number): Script<void> {
    if (ends.length === 0) {
      return;
    }
    const cases = `CASE id ${ends.map(() => 'WHEN ? THEN ?').join(' ')} END`;
    yield {
      sql: `UPDATE ${this.#t.deliveries} SET status = '${status}', lane = NULL, due_at_ms = NULL,
         holder = NULL, lease_until_ms = NULL, updated_at_ms = ?, answer = ${cases}
       WHERE id ${this.#t.words.amongTexts} AND holder = ${cases}`,
      params: [
        nowMs,
        ...ends.flatMap(({ id, answer }) => [id, answer]),
        JSON.stringify(ends.map(({ id }) => id)),
        ...ends.flatMap(({ id, holder }) => [id, holder]),
      ],
      deferred: true,
    };
  }
}

function takenOfRow(row: Row, holder: string): TakenDelivery {
  return {
    id: String(row[0]),
    holder,
    target: String(row[1]),
    lane: String(row[2]),
    jobSeq: Number(row[3]),
    tenantId: String(row[19]),
    attempts: Number(row[4]),
    isLost: Number(row[17]) > MOST_LOST,
    asOfMs: numberOrNull(row[18]),
    event: String(row[5]),
    url: textOrNull(row[6]),
    secrets: textOrNull(row[7]),
    isDeclared: Number(row[8]) === 1,
    // Without the job as it was there is nothing to tell.
    happened: row[16] === null ? undefined : eventOfRow(row, 9),
  };
}

export function deliveryOfRow(row: Row): JobDeliveryEntity {
  const delivery = new JobDeliveryEntity();
  delivery.id = String(row[0]);
  delivery.target = String(row[1]);
  delivery.lane = textOrNull(row[2]);
  delivery.dueAtMs = numberOrNull(row[3]);
  delivery.jobSeq = Number(row[4]);
  delivery.sequence = Number(row[5]);
  delivery.jobId = textOrNull(row[6]);
  delivery.tenantId = String(row[7]);
  delivery.event = String(row[8]);
  delivery.url = textOrNull(row[9]);
  delivery.status = row[10] as JobDeliveryEntity['status'];
  delivery.attempts = Number(row[11]);
  delivery.lost = Number(row[12]);
  delivery.holder = textOrNull(row[13]);
  delivery.leaseUntilMs = numberOrNull(row[14]);
  delivery.createdAtMs = Number(row[15]);
  delivery.updatedAtMs = Number(row[16]);
  delivery.answer = textOrNull(row[17]);
  return delivery;
}

function textOrNull(value: Row[number] | undefined): string | null {
  return value === null || value === undefined ? null : String(value);
}

function numberOrNull(value: Row[number] | undefined): number | null {
  return value === null || value === undefined ? null : Number(value);
}
