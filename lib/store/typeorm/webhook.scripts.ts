import { JobWebhookEntity } from '../../entities/job-webhook.entity.js';
import { CHANGES_SQL, query, type Row, type Script, type SqlValue } from '../dialects/sql.js';
import { UNDECLARED, type Subscriber, type WebhookChange } from '../webhooks.js';
import type { TableNames } from './table-names.js';

const COLUMNS = [
  'id',
  'tenant_id',
  'url',
  'events',
  'secrets',
  'is_declared',
  'declared_at_ms',
  'is_enabled',
  'disabled_at_ms',
  'disabled_reason',
  'created_at_ms',
  'updated_at_ms',
] as const;

/** Two changes are told apart, also within a millisecond. */
const CHANGED = 'updated_at_ms = CASE WHEN updated_at_ms >= ? THEN updated_at_ms + 1 ELSE ? END';
const ON_REQUEST = 'disabled on request';
/** The key whose row is locked by whoever adds an endpoint. */
const ADDING = 'webhook endpoints';

/** Endpoints, and who hears what. */
export class WebhookScripts {
  readonly #t: TableNames;

  constructor(tables: TableNames) {
    this.#t = tables;
  }

  *subscribers(): Script<readonly Subscriber[]> {
    const rows = yield* query(
      `SELECT id, tenant_id, events FROM ${this.#t.webhooks} WHERE is_enabled = 1 ORDER BY id`,
    );
    return rows.map(([id, tenantId, events]) => ({
      id: String(id),
      tenantId: tenantId === null ? null : String(tenantId),
      events: events === null ? null : new Set(JSON.parse(String(events)) as string[]),
    }));
  }

  *list(tenantId: string | undefined): Script<readonly JobWebhookEntity[]> {
    const scope = tenantId === undefined ? '' : ' WHERE tenant_id = ?';
    const rows = yield* query(
      `SELECT ${COLUMNS.join(', ')} FROM ${this.#t.webhooks}${scope} ORDER BY created_at_ms, id`,
      tenantId === undefined ? [] : [tenantId],
    );
    return rows.map(endpointOfRow);
  }

  *find(id: string): Script<JobWebhookEntity | undefined> {
    const rows = yield* query(
      `SELECT ${COLUMNS.join(', ')} FROM ${this.#t.webhooks} WHERE id = ?`,
      [id],
    );
    return rows.map(endpointOfRow)[0];
  }

  /** Unless its tenant has that many. One at a time: two that count at once would both find room. */
  *add(given: JobWebhookEntity, most: number, nowMs: number): Script<JobWebhookEntity | undefined> {
    yield* query(
      `INSERT INTO ${this.#t.keys} (name, value) VALUES (?, '')
       ${this.#t.words.replacing('name', ['value'])}`,
      [ADDING],
    );
    const [has] = yield* query(`SELECT COUNT(*) FROM ${this.#t.webhooks} WHERE tenant_id = ?`, [
      given.tenantId,
    ]);
    if (Number(has?.[0]) >= most) {
      return undefined;
    }
    const endpoint = Object.assign(new JobWebhookEntity(), given);
    endpoint.createdAtMs = nowMs;
    endpoint.updatedAtMs = nowMs;
    yield* query(
      `INSERT INTO ${this.#t.webhooks} (${COLUMNS.join(', ')})
       VALUES (${COLUMNS.map(() => '?').join(', ')})`,
      [
        endpoint.id,
        endpoint.tenantId,
        endpoint.url,
        endpoint.events,
        endpoint.secrets,
        endpoint.isDeclared,
        endpoint.declaredAtMs,
        endpoint.isEnabled,
        endpoint.disabledAtMs,
        endpoint.disabledReason,
        endpoint.createdAtMs,
        endpoint.updatedAtMs,
      ],
    );
    return endpoint;
  }

  /**
   * Only what is named: what others have changed meanwhile stays, and who is gone stays gone. Secrets take the
   * place of those that were read, or nothing is changed.
   */
  *change(
    id: string,
    { isEnabled, secrets, ...columns }: WebhookChange,
    nowMs: number,
  ): Script<JobWebhookEntity | undefined> {
    const texts = secrets === undefined ? columns : { ...columns, secrets: secrets.after };
    const given = Object.entries(texts).filter(([, value]) => value !== undefined);
    const sets = given.map(([name]) => `${name} = ?`);
    const values: SqlValue[] = given.map(([, value]) => value);
    if (isEnabled === true) {
      sets.push('disabled_at_ms = NULL', 'disabled_reason = NULL', 'is_enabled = 1');
    } else if (isEnabled === false) {
      // When and why it was disabled before is kept. MySQL sees the new value of what is set before.
      sets.push(
        'disabled_at_ms = CASE is_enabled WHEN 1 THEN ? ELSE disabled_at_ms END',
        'disabled_reason = CASE is_enabled WHEN 1 THEN ? ELSE disabled_reason END',
        'is_enabled = 0',
      );
      values.push(nowMs, ON_REQUEST);
    }
    const asRead = secrets === undefined ? '' : ' AND secrets = ?';
    yield* query(
      `UPDATE ${this.#t.webhooks} SET ${[...sets, CHANGED].join(', ')} WHERE id = ?${asRead}`,
      [...values, nowMs, nowMs, id, ...(secrets === undefined ? [] : [secrets.before])],
    );
    return yield* this.find(id);
  }

  /** Those that are declared no more are disabled when no process has declared them for so long. */
  *declare(
    endpoints: readonly Pick<JobWebhookEntity, 'id' | 'url' | 'events'>[],
    keptMs: number,
    nowMs: number,
  ): Script<readonly string[]> {
    const stored = new Map((yield* this.list(undefined)).map((each) => [each.id, each]));
    for (const { id, url, events } of endpoints) {
      const before = stored.get(id);
      if (before === undefined) {
        yield* query(
          this.#t.words.insertNew(
            `INSERT INTO ${this.#t.webhooks} (${COLUMNS.join(', ')})
             VALUES (?, NULL, ?, ?, NULL, 1, ?, 1, NULL, NULL, ?, ?)`,
            'id',
          ),
          [id, url, events, nowMs, nowMs, nowMs],
        );
        continue;
      }
      if (before.events !== events) {
        yield* this.change(id, { events }, nowMs);
      }
      if (before.disabledReason === UNDECLARED) {
        yield* this.change(id, { isEnabled: true }, nowMs);
      }
      yield* query(`UPDATE ${this.#t.webhooks} SET declared_at_ms = ? WHERE id = ?`, [nowMs, id]);
    }
    const gone = [...stored.values()].filter(
      ({ id, isDeclared, isEnabled, declaredAtMs }) =>
        isDeclared === 1 &&
        isEnabled === 1 &&
        (declaredAtMs ?? 0) < nowMs - keptMs &&
        endpoints.every((each) => each.id !== id),
    );
    const disabled: string[] = [];
    for (const { id, updatedAtMs } of gone) {
      const since = nowMs - keptMs;
      if ((yield* this.disable(id, UNDECLARED, updatedAtMs, nowMs, since)) !== undefined) {
        disabled.push(id);
      }
    }
    return disabled;
  }

  *remove(id: string): Script<void> {
    yield* query(`DELETE FROM ${this.#t.webhooks} WHERE id = ?`, [id]);
  }

  /** Unless it is disabled, was changed since then, or was declared after that. */
  *disable(
    id: string,
    reason: string,
    asOfMs: number | null,
    nowMs: number,
    declaredBeforeMs = Number.MAX_SAFE_INTEGER,
  ): Script<JobWebhookEntity | undefined> {
    yield* query(
      `UPDATE ${this.#t.webhooks} SET is_enabled = 0, disabled_at_ms = ?, disabled_reason = ?, ${CHANGED}
       WHERE id = ? AND is_enabled = 1 AND updated_at_ms = ? AND COALESCE(declared_at_ms, 0) < ?`,
      [nowMs, reason, nowMs, nowMs, id, asOfMs, declaredBeforeMs],
    );
    const [changes] = yield* query(CHANGES_SQL);
    return Number(changes?.[0]) === 1 ? yield* this.find(id) : undefined;
  }

  *sealed(
    after: string,
    most: number,
  ): Script<readonly { readonly id: string; readonly secrets: string }[]> {
    const rows = yield* query(
      `SELECT id, secrets FROM ${this.#t.webhooks}
       WHERE id > ? AND secrets IS NOT NULL ORDER BY id ${this.#t.words.limit}`,
      [after, most],
    );
    return rows.map(([id, secrets]) => ({ id: String(id), secrets: String(secrets) }));
  }

  *reseal(id: string, before: string, after: string): Script<void> {
    yield* query(`UPDATE ${this.#t.webhooks} SET secrets = ? WHERE id = ? AND secrets = ?`, [
      after,
      id,
      before,
    ]);
  }

  *key(name: string, made: string): Script<string> {
    yield* query(
      this.#t.words.insertNew(`INSERT INTO ${this.#t.keys} (name, value) VALUES (?, ?)`, 'name'),
      [name, made],
    );
    const rows = yield* query(`SELECT value FROM ${this.#t.keys} WHERE name = ?`, [name]);
    return String(rows[0]?.[0]);
  }
}

function endpointOfRow(row: Row): JobWebhookEntity {
  const endpoint = new JobWebhookEntity();
  endpoint.id = String(row[0]);
  endpoint.tenantId = row[1] as string | null;
  endpoint.url = String(row[2]);
  endpoint.events = row[3] as string | null;
  endpoint.secrets = row[4] as string | null;
  endpoint.isDeclared = Number(row[5]);
  endpoint.declaredAtMs = row[6] === null ? null : Number(row[6]);
  endpoint.isEnabled = Number(row[7]);
  endpoint.disabledAtMs = row[8] === null ? null : Number(row[8]);
  endpoint.disabledReason = row[9] as string | null;
  endpoint.createdAtMs = Number(row[10]);
  endpoint.updatedAtMs = Number(row[11]);
  return endpoint;
}
