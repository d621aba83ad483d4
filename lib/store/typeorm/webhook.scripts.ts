import { JobWebhookEntity } from '../../entities/job-webhook.entity.js';
import { CHANGES_SQL, query, type Row, type Script } from '../dialects/sql.js';
import type { Subscriber } from '../webhooks.js';
import type { TableNames } from './table-names.js';

const COLUMNS = [
  'id',
  'tenant_id',
  'url',
  'events',
  'secrets',
  'is_declared',
  'is_enabled',
  'disabled_at_ms',
  'disabled_reason',
  'created_at_ms',
  'updated_at_ms',
] as const;

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

  *save(given: JobWebhookEntity, nowMs: number): Script<JobWebhookEntity> {
    const before = yield* this.find(given.id);
    const endpoint = Object.assign(new JobWebhookEntity(), given);
    endpoint.createdAtMs = before?.createdAtMs ?? nowMs;
    endpoint.updatedAtMs = nowMs;
    if (endpoint.isEnabled === 0) {
      endpoint.disabledAtMs = before?.disabledAtMs ?? nowMs;
    }
    yield* query(
      `INSERT INTO ${this.#t.webhooks} (${COLUMNS.join(', ')})
       VALUES (${COLUMNS.map(() => '?').join(', ')})
       ${this.#t.words.replacing(
         'id',
         COLUMNS.filter((name) => name !== 'id'),
       )}`,
      [
        endpoint.id,
        endpoint.tenantId,
        endpoint.url,
        endpoint.events,
        endpoint.secrets,
        endpoint.isDeclared,
        endpoint.isEnabled,
        endpoint.disabledAtMs,
        endpoint.disabledReason,
        endpoint.createdAtMs,
        endpoint.updatedAtMs,
      ],
    );
    return endpoint;
  }

  /** Those that are declared no more are gone; what waits for them goes when it is due. */
  *declare(
    endpoints: readonly Pick<JobWebhookEntity, 'id' | 'url' | 'events'>[],
    nowMs: number,
  ): Script<void> {
    const rows = yield* query(`SELECT id FROM ${this.#t.webhooks} WHERE is_declared = 1`);
    const gone = rows.map(([id]) => String(id)).filter((id) => endpoints.every((e) => e.id !== id));
    if (gone.length > 0) {
      yield* query(`DELETE FROM ${this.#t.webhooks} WHERE id ${this.#t.words.amongTexts}`, [
        JSON.stringify(gone),
      ]);
    }
    for (const { id, url, events } of endpoints) {
      yield* query(
        `INSERT INTO ${this.#t.webhooks} (${COLUMNS.join(', ')})
         VALUES (?, NULL, ?, ?, NULL, 1, 1, NULL, NULL, ?, ?)
         ${this.#t.words.replacing('id', ['url', 'events'])}`,
        [id, url, events, nowMs, nowMs],
      );
    }
  }

  *remove(id: string): Script<void> {
    yield* query(`DELETE FROM ${this.#t.webhooks} WHERE id = ?`, [id]);
  }

  *disable(id: string, reason: string, nowMs: number): Script<JobWebhookEntity | undefined> {
    yield* query(
      `UPDATE ${this.#t.webhooks} SET is_enabled = 0, disabled_at_ms = ?, disabled_reason = ?, updated_at_ms = ?
       WHERE id = ? AND is_enabled = 1`,
      [nowMs, reason, nowMs, id],
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
  endpoint.isEnabled = Number(row[6]);
  endpoint.disabledAtMs = row[7] === null ? null : Number(row[7]);
  endpoint.disabledReason = row[8] as string | null;
  endpoint.createdAtMs = Number(row[9]);
  endpoint.updatedAtMs = Number(row[10]);
  return endpoint;
}
