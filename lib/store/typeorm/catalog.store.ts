import type { JobGroupEntity } from '../../entities/job-group.entity.js';
import type { JobTypeEntity } from '../../entities/job-type.entity.js';
import type { JobWorkerEntity } from '../../entities/worker.entity.js';
import type { Session } from '../dialects/session.js';
import { query, quietly, type Script } from '../dialects/sql.js';
import type { CatalogStore, WorkerQuery } from '../store.js';
import type { Marks } from '../claims.js';
import { HOOK_LANE, type Subscriber } from '../webhooks.js';
import type { Writer } from '../writer.js';
import type { EventScripts } from './event.scripts.js';
import { declareScopes } from './limit.scripts.js';
import { readsOf } from './reads.js';
import type { TableNames } from './table-names.js';
import { WebhookScripts } from './webhook.scripts.js';

const FORGET_WORKER_AFTER_MS = 3_600_000;

/** Builds the catalog's part of the store. */
export function catalogStore(
  tables: TableNames,
  session: () => Session,
  writer: () => Writer,
  events: EventScripts,
): CatalogStore {
  const read = readsOf(session);
  let looks = 0;
  let latest = 0;
  return {
    declare: (types, groups, scopes) =>
      writer().write(
        quietly((now) => declare(tables, types, groups, scopes, now)),
        'engine',
      ),
    setPaused: (queue, paused) =>
      writer().write((now) => setPaused(tables, queue, paused, now), 'caller'),
    async marked() {
      const look = (looks += 1);
      const { subscribers, ...marks } = await read(() => marked(tables));
      // One that began earlier may end later, on another connection: what it saw is older.
      if (look > latest) {
        latest = look;
        events.subscribers = subscribers;
      }
      return marks;
    },
    beat: (worker) =>
      writer().write(
        quietly((now) => beat(tables, worker, now)),
        'engine',
      ),
    workers: (which) => read((now) => workers(tables, which, now), 'search'),
    forgetWorker: (id) =>
      writer().write(
        quietly(() => forgetWorker(tables, id)),
        'engine',
      ),
  };
}

function* declare(
  t: TableNames,
  types: readonly JobTypeEntity[],
  groups: readonly JobGroupEntity[],
  scopes: readonly string[],
  nowMs: number,
): Script<void> {
  yield* declareScopes(t, scopes, nowMs);
  for (const group of groups) {
    yield* query(
      `INSERT INTO ${t.groups} (name, queue_name, description) VALUES (?, ?, ?)
       ${t.words.replacing('name', ['queue_name', 'description'])}`,
      [group.name, group.queueName, group.description],
    );
  }
  for (const type of types) {
    yield* query(
      `INSERT INTO ${t.types} (type_id, description, group_name, name, version, timeout_sec, max_retries, retry_delay_sec, suspendable)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
       ${t.words.replacing('type_id', ['description', 'group_name', 'name', 'version', 'timeout_sec', 'max_retries', 'retry_delay_sec', 'suspendable'])}`,
      [
        type.typeId,
        type.description,
        type.group,
        type.name,
        type.version,
        type.timeoutSec,
        type.maxRetries,
        type.retryDelaySec,
        type.suspendable,
      ],
    );
  }
}

function* setPaused(t: TableNames, queue: string, paused: boolean, nowMs: number): Script<void> {
  yield* query(
    `INSERT INTO ${t.queues} (name, paused, updated_at_ms) VALUES (?, ?, ?)
     ${t.words.replacing('name', ['paused', 'updated_at_ms'])}`,
    [queue, paused ? 1 : 0, nowMs],
  );
}

/** One statement for all: names of queues have no colon, scopes have one. */
function* marked(t: TableNames): Script<Marks & { readonly subscribers: readonly Subscriber[] }> {
  const rows = yield* query(
    `SELECT name FROM ${t.queues} WHERE paused = 1
     UNION ALL SELECT scope FROM ${t.limits} WHERE limit_key = ''
     UNION ALL SELECT MAX('${SUBSCRIBED}') FROM ${t.webhooks} WHERE is_enabled = 1
     UNION ALL SELECT MAX('${SENDING}') FROM (
       SELECT id FROM ${t.webhooks} AS hook WHERE is_enabled = 1
         AND (SELECT lane FROM ${t.deliveries} WHERE lane IS NOT NULL LIMIT 1) IS NOT NULL
         AND (SELECT lane FROM ${t.deliveries} WHERE lane = hook.id LIMIT 1) IS NOT NULL LIMIT 1) AS told
     UNION ALL SELECT MAX('${SENDING}') FROM (
       SELECT lane FROM ${t.deliveries} WHERE lane >= '${HOOK_LANE}' LIMIT 1) AS pending`,
  );
  const names = rows.flatMap(([name]) => (name === null ? [] : [String(name)]));
  const isSubscribed = names.includes(SUBSCRIBED);
  return {
    subscribers: isSubscribed ? yield* new WebhookScripts(t).subscribers() : [],
    paused: new Set(names.filter((name) => !name.includes(':'))),
    limited: new Set(names.filter((name) => name.includes(':') && !name.startsWith(':'))),
    isSending: names.includes(SENDING),
  };
}

/** That there are endpoints, and deliveries on their way; no names of queues or scopes. */
const SUBSCRIBED = ':webhooks';
const SENDING = ':deliveries';

function* beat(
  t: TableNames,
  worker: Parameters<CatalogStore['beat']>[0],
  nowMs: number,
): Script<void> {
  yield* query(
    `INSERT INTO ${t.workers} (worker_id, host, pid, version, queues, started_at_ms, heartbeat_at_ms)
     VALUES (?, ?, ?, ?, ?, ?, ?)
     ${t.words.replacing('worker_id', ['heartbeat_at_ms'])}`,
    [worker.id, worker.host, worker.pid, worker.version, worker.queues, nowMs, nowMs],
  );
  yield* query(`DELETE FROM ${t.workers} WHERE heartbeat_at_ms < ?`, [
    nowMs - FORGET_WORKER_AFTER_MS,
  ]);
}

function* workers(
  t: TableNames,
  { id, heardWithinMs = FORGET_WORKER_AFTER_MS, silentForMs = 0 }: WorkerQuery,
  nowMs: number,
): Script<readonly JobWorkerEntity[]> {
  // A heartbeat may be ahead of the time that this process knows: then it is not silent at all.
  const conditions: readonly (readonly [sql: string, value: string | number])[] = [
    ['heartbeat_at_ms >= ?', nowMs - heardWithinMs],
    ...(silentForMs > 0 ? [['heartbeat_at_ms <= ?', nowMs - silentForMs] as const] : []),
    ...(id === undefined ? [] : [['worker_id = ?', id] as const]),
  ];
  const rows = yield* query(
    `SELECT worker_id, host, pid, version, queues, started_at_ms, heartbeat_at_ms FROM ${t.workers}
     WHERE ${conditions.map(([sql]) => sql).join(' AND ')} ORDER BY started_at_ms DESC, worker_id DESC`,
    conditions.map(([, value]) => value),
  );
  return rows.map((row) => ({
    id: String(row[0]),
    host: String(row[1]),
    pid: Number(row[2]),
    version: String(row[3]),
    queues: String(row[4]),
    startedAtMs: Number(row[5]),
    heartbeatAtMs: Number(row[6]),
  }));
}

function* forgetWorker(t: TableNames, id: string): Script<void> {
  yield* query(`DELETE FROM ${t.workers} WHERE worker_id = ?`, [id]);
}
