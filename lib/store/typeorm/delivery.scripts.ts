import { JobDeliveryEntity } from '../../entities/job-delivery.entity.js';
import { JobEventEntity } from '../../entities/job-event.entity.js';
import { EXTRA } from '../../model/extras.js';
import type { JobStatus } from '../../model/job-status.js';
import { CHANGES_SQL, query, type Row, type Script } from '../dialects/sql.js';
import {
  STATUS_HOOK,
  type DeliveryEnd,
  type DeliveryQuery,
  type DueLane,
  type TakenDelivery,
} from '../webhooks.js';
import { laneOfHook } from './event.scripts.js';
import type { TableNames } from './table-names.js';

/** Receivers that one pass looks at. */
const MOST_LANES = 1000;
/** Deliveries that one step takes off their lane, or puts back. */
const PARKED_AT_ONCE = 500;

const COLUMNS = [
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
  'holder',
  'lease_until_ms',
  'created_at_ms',
  'updated_at_ms',
  'answer',
] as const;

/** Deliveries on their way: who sends which, and how they end. */
export class DeliveryScripts {
  readonly #t: TableNames;
  readonly #lanesSql: string;
  readonly #freeSql: string;

  constructor(tables: TableNames) {
    this.#t = tables;
    const { deliveries, words } = tables;
    // From lane to lane by the index, so that it costs what there are lanes, not deliveries.
    this.#lanesSql = `WITH RECURSIVE lanes (lane) AS (
        SELECT MIN(lane) FROM ${deliveries} WHERE lane IS NOT NULL
        UNION ALL
        SELECT (SELECT MIN(other.lane) FROM ${deliveries} AS other WHERE other.lane > lanes.lane)
        FROM lanes WHERE lanes.lane IS NOT NULL)
      SELECT lane, (SELECT MIN(due.due_at_ms) FROM ${deliveries} AS due WHERE due.lane = lanes.lane)
      FROM lanes WHERE lane IS NOT NULL LIMIT ${MOST_LANES}`;
    // One older that is not over holds back what comes after it, for the same job and receiver. Asked of
    // each row by itself: what planners make of NOT EXISTS walks through all deliveries there have been.
    this.#freeSql = `SELECT due.id FROM ${deliveries} AS due${words.using(tables.index('job_deliveries_lane'))}
      WHERE due.lane = ? AND due.due_at_ms <= ? AND (due.lease_until_ms IS NULL OR due.lease_until_ms <= ?)
        AND due.sequence = (SELECT MIN(oldest.sequence) FROM ${deliveries} AS oldest
          WHERE oldest.job_seq = due.job_seq AND oldest.target = due.target AND oldest.lane IS NOT NULL)
        AND COALESCE((SELECT hook.is_enabled FROM ${tables.webhooks} AS hook WHERE hook.id = due.target), 1) = 1
      ORDER BY due.due_at_ms ${words.limit} ${words.skipLocked}`;
  }

  *lanes(): Script<readonly DueLane[]> {
    const rows = yield* query(this.#lanesSql);
    return rows.map(([lane, dueAtMs]) => ({ lane: String(lane), dueAtMs: Number(dueAtMs) }));
  }

  *take(
    wanted: readonly { readonly lane: string; readonly most: number }[],
    holder: string,
    leaseMs: number,
    nowMs: number,
  ): Script<readonly TakenDelivery[]> {
    const ids: string[] = [];
    for (const { lane, most } of wanted) {
      const rows = yield* query(this.#freeSql, [lane, nowMs, nowMs, most]);
      ids.push(...rows.map(([id]) => String(id)));
    }
    if (ids.length === 0) {
      return [];
    }
    const those = JSON.stringify(ids);
    const { deliveries, webhooks, events, words } = this.#t;
    yield* query(
      `UPDATE ${deliveries} SET holder = ?, lease_until_ms = ?, attempts = attempts + 1, updated_at_ms = ?
       WHERE id ${words.amongTexts}`,
      [holder, nowMs + leaseMs, nowMs, those],
    );
    const rows = yield* query(
      `SELECT sent.id, sent.target, sent.lane, sent.job_seq, sent.attempts, sent.event,
         COALESCE(sent.url, hook.url), hook.secrets, COALESCE(hook.is_declared, 0),
         happened.sequence, happened.job_id, happened.at_ms, happened.kind, happened.status,
         happened.detail, happened.job
       FROM ${deliveries} AS sent
       LEFT JOIN ${webhooks} AS hook ON hook.id = sent.target
       LEFT JOIN ${events} AS happened
         ON happened.job_seq = sent.job_seq AND happened.sequence = sent.sequence
       WHERE sent.id ${words.amongTexts}`,
      [those],
    );
    return rows.map(takenOfRow);
  }

  *settle(ends: readonly DeliveryEnd[], holder: string, nowMs: number): Script<void> {
    for (const over of ['delivered', 'failed'] as const) {
      const those = ends.filter(({ status }) => status === over);
      yield* this.#end(those, over, holder, nowMs);
    }
    for (const end of ends.filter(({ status }) => status === 'pending')) {
      const dueAtMs = nowMs + end.againInMs;
      yield* query(
        `UPDATE ${this.#t.deliveries}
         SET due_at_ms = ?, holder = NULL, lease_until_ms = NULL, updated_at_ms = ?, answer = ?
         WHERE id = ? AND holder = ?`,
        [dueAtMs, nowMs, end.answer, end.id, holder],
      );
      // What waits behind it would be looked at in vain until then.
      yield* query(
        `UPDATE ${this.#t.deliveries} SET due_at_ms = ?
         WHERE job_seq = ? AND target = ? AND lane IS NOT NULL AND due_at_ms < ?`,
        [dueAtMs, end.jobSeq, end.target, dueAtMs],
      );
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

  /** What waits for a status hook that is gone has failed; no event of the job is told it any more. */
  *dropHook(jobSeq: number, answer: string, nowMs: number): Script<void> {
    // The row first: whoever changes the job now has said what there is to tell by then.
    yield* query(
      `UPDATE ${this.#t.rows}
       SET extras = extras - ${EXTRA.hook} + (CASE WHEN extras & ${EXTRA.events} = 0 THEN ${EXTRA.events} ELSE 0 END)
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

  *park(target: string, isParked: boolean): Script<boolean> {
    const rows = yield* query(
      `SELECT id FROM ${this.#t.deliveries}
       WHERE target = ? AND status = 'pending' AND lane IS ${isParked ? 'NOT NULL' : 'NULL'}
       LIMIT ${PARKED_AT_ONCE}`,
      [target],
    );
    yield* query(
      `UPDATE ${this.#t.deliveries} SET lane = ${isParked ? 'NULL' : 'target'}, holder = NULL, lease_until_ms = NULL
       WHERE id ${this.#t.words.amongTexts}`,
      [JSON.stringify(rows.map(([id]) => String(id)))],
    );
    return rows.length === PARKED_AT_ONCE;
  }

  *list({ target, status, limit, before }: DeliveryQuery): Script<readonly JobDeliveryEntity[]> {
    const conditions = [
      'target = ?',
      ...(status === undefined ? [] : ['status = ?']),
      ...(before === undefined ? [] : ['id < ?']),
    ];
    const values = [target, ...(status === undefined ? [] : [status])];
    const rows = yield* query(
      `SELECT ${COLUMNS.join(', ')} FROM ${this.#t.deliveries}
       WHERE ${conditions.join(' AND ')} ORDER BY id DESC ${this.#t.words.limit}`,
      [...values, ...(before === undefined ? [] : [before]), limit],
    );
    return rows.map(deliveryOfRow);
  }

  *find(id: string): Script<JobDeliveryEntity | undefined> {
    const rows = yield* query(
      `SELECT ${COLUMNS.join(', ')} FROM ${this.#t.deliveries} WHERE id = ?`,
      [id],
    );
    return rows.map(deliveryOfRow)[0];
  }

  /** Old tests of the same endpoint make room. */
  *record(given: JobDeliveryEntity, keptMs: number, nowMs: number): Script<JobDeliveryEntity> {
    const made = Object.assign(new JobDeliveryEntity(), given);
    made.createdAtMs = nowMs;
    made.updatedAtMs = nowMs;
    made.sequence = nowMs;
    yield* query(
      `DELETE FROM ${this.#t.deliveries} WHERE job_seq = 0 AND target = ? AND sequence < ?`,
      [made.target, nowMs - keptMs],
    );
    yield* query(
      this.#t.words.insertNew(
        `INSERT INTO ${this.#t.deliveries} (${COLUMNS.join(', ')})
         VALUES (${COLUMNS.map(() => '?').join(', ')})`,
        'job_seq, target, sequence',
      ),
      [
        made.id,
        made.target,
        null,
        null,
        0,
        made.sequence,
        null,
        made.tenantId,
        made.event,
        null,
        made.status,
        made.attempts,
        null,
        null,
        nowMs,
        nowMs,
        made.answer,
      ],
    );
    return made;
  }

  *redeliver(id: string, nowMs: number): Script<JobDeliveryEntity | undefined> {
    const found = yield* this.find(id);
    if (found === undefined || found.status === 'pending' || found.jobSeq === 0) {
      return undefined;
    }
    const lane = found.target === STATUS_HOOK ? laneOfHook(found.url ?? '') : found.target;
    yield* query(
      `UPDATE ${this.#t.deliveries} SET status = 'pending', lane = ?, due_at_ms = ?, attempts = 0,
         holder = NULL, lease_until_ms = NULL, updated_at_ms = ?
       WHERE id = ? AND status <> 'pending'`,
      [lane, nowMs, nowMs, id],
    );
    const [changes] = yield* query(CHANGES_SQL);
    return Number(changes?.[0]) === 1 ? yield* this.find(id) : undefined;
  }

  /** Deletes some of the deliveries of an endpoint that is gone; whether there may be more. */
  *removeOf(target: string): Script<boolean> {
    const { deliveries, words } = this.#t;
    yield* query(words.deleteSome(deliveries, 'id', 'target = ?', PARKED_AT_ONCE), [target]);
    const [changes] = yield* query(CHANGES_SQL);
    return Number(changes?.[0]) >= PARKED_AT_ONCE;
  }

  /** Many at once, with the answer of each; what somebody else holds by now stays as it is. */
  *#end(
    ends: readonly DeliveryEnd[],
    status: 'delivered' | 'failed',
    holder: string,
    nowMs: number,
  ): Script<void> {
    if (ends.length === 0) {
      return;
    }
    const answers = ends.map(() => 'WHEN ? THEN ?').join(' ');
    yield* query(
      `UPDATE ${this.#t.deliveries} SET status = '${status}', lane = NULL, due_at_ms = NULL,
         holder = NULL, lease_until_ms = NULL, updated_at_ms = ?, answer = CASE id ${answers} END
       WHERE id ${this.#t.words.amongTexts} AND holder = ?`,
      [
        nowMs,
        ...ends.flatMap(({ id, answer }) => [id, answer]),
        JSON.stringify(ends.map(({ id }) => id)),
        holder,
      ],
    );
  }
}

function takenOfRow(row: Row): TakenDelivery {
  return {
    id: String(row[0]),
    target: String(row[1]),
    lane: String(row[2]),
    jobSeq: Number(row[3]),
    attempts: Number(row[4]),
    event: String(row[5]),
    url: textOrNull(row[6]),
    secrets: textOrNull(row[7]),
    isDeclared: Number(row[8]) === 1,
    // Without the job as it was there is nothing to tell.
    happened: row[15] === null ? undefined : eventOfRow(row),
  };
}

function eventOfRow(row: Row): JobEventEntity {
  const event = new JobEventEntity();
  event.jobSeq = Number(row[3]);
  event.sequence = Number(row[9]);
  event.jobId = String(row[10]);
  event.atMs = Number(row[11]);
  event.kind = row[12] as JobEventEntity['kind'];
  event.status = row[13] as JobStatus;
  event.detail = String(row[14]);
  event.job = textOrNull(row[15]);
  return event;
}

function deliveryOfRow(row: Row): JobDeliveryEntity {
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
  delivery.holder = textOrNull(row[12]);
  delivery.leaseUntilMs = numberOrNull(row[13]);
  delivery.createdAtMs = Number(row[14]);
  delivery.updatedAtMs = Number(row[15]);
  delivery.answer = textOrNull(row[16]);
  return delivery;
}

function textOrNull(value: Row[number] | undefined): string | null {
  return value === null || value === undefined ? null : String(value);
}

function numberOrNull(value: Row[number] | undefined): number | null {
  return value === null || value === undefined ? null : Number(value);
}
