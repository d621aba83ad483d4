import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { JobType, type JobHandler, type JobQuery, type JobStatus } from '../../lib/index.js';
import { newJobId } from '../../lib/store/dialects/sqlite/job-ids.js';
import { idOfSeq, msOfSeq, seqOfMs } from '../../lib/store/dialects/shared/row-numbers.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { driverUnderTest, isFile } from '../support/databases.js';

/** More than lists count, in all, of a tenant and of a status; several times what a slice reads. */
const ROWS = 32_000;
const COUNTED = 10_000;
const NIL = '00000000-0000-0000-0000-000000000000';
const HOUR_MS = 3_600_000;

@JobType({ group: 'compute', name: 'alpha' })
class Alpha implements JobHandler {
  execute(): void {}
}

interface Row {
  readonly seq: number;
  readonly id: string;
  readonly high: number;
  readonly low: number;
  readonly tenant: string;
  readonly user: string | null;
  readonly key: string | null;
  readonly type: string;
  readonly queue: string;
  readonly channel: string;
  readonly priority: number;
  readonly status: JobStatus;
  readonly ready: number;
  readonly scheduled_at: number;
  readonly run_at: number;
  readonly updated_at: number;
  readonly started_at: number | null;
  readonly finished_at: number | null;
  readonly lease: number | null;
  readonly tag: string | null;
  readonly upstream: string | null;
}

const now = Date.now();
const rows: Row[] = Array.from({ length: ROWS }, (_, n) => rowOf(n));
let app: BootedJobs;

beforeAll(async () => {
  app = await bootJobs({ types: [Alpha], options: { role: 'producer' }, lifetime: 'file' });
  for (let at = 0; at < ROWS; at += 4000) {
    for (const statement of isFile ? INTO_ROWS : [inserting(INTO_TABLE)]) {
      await app.dataSource.query(statement, [JSON.stringify(rows.slice(at, at + 4000))]);
    }
  }
}, 60_000);

/** What each of the statements below says alike. */
const COLUMNS = `seq, user_id, idempotency_key, channel, priority, status, ready, run_at_ms, updated_at_ms,
   started_at_ms, finished_at_ms, lease_until_ms, params, tags, upstream_job_id`;
const VALUES = `value ->> 'seq', value ->> 'user', value ->> 'key', value ->> 'channel', value ->> 'priority',
   value ->> 'status', value ->> 'ready', value ->> 'run_at', value ->> 'updated_at', value ->> 'started_at',
   value ->> 'finished_at', value ->> 'lease', '{}',
   CASE WHEN value ->> 'tag' IS NOT NULL THEN json_array(value ->> 'tag') END, value ->> 'upstream'`;

const INTO_TABLE = `INSERT INTO jobs (${COLUMNS}, job_id, tenant_id, type, type_version, group_name, queue, kind, sequence,
     scheduled_at_ms, timeout_sec, max_retries, retry_delay_sec)
   SELECT ${VALUES}, value ->> 'id', value ->> 'tenant', value ->> 'type', 1, 'compute', value ->> 'queue', 'generic', 1,
     value ->> 'scheduled_at', 0, 0, 10
   FROM json_each(?)`;

/** On SQLite \`jobs\` is a view. */
const INTO_ROWS = [
  `INSERT OR IGNORE INTO job_declarations (type, type_version, group_name, queue, timeout_sec, max_retries, retry_delay_sec)
   SELECT DISTINCT value ->> 'type', 1, 'compute', value ->> 'queue', 0, 0, 10 FROM json_each(?)`,
  `INSERT INTO job_rows (${COLUMNS}, id_high, id_low, tenant_id, declaration)
   SELECT ${VALUES}, value ->> 'high', value ->> 'low', NULLIF(value ->> 'tenant', '${NIL}'),
     (SELECT declaration FROM job_declarations WHERE type = value ->> 'type' AND type_version = 1
        AND group_name = 'compute' AND queue = value ->> 'queue')
   FROM json_each(?)`,
];
const FIELD = /value ->> '(\w+)'/g;

function typeOf(field: string): 'bigint' | 'int' | 'text' {
  return /^(seq|scheduled_at|run_at|updated_at|started_at|finished_at|lease)$/.test(field)
    ? 'bigint'
    : /^(priority|ready)$/.test(field)
      ? 'int'
      : 'text';
}

/** The statement as the database of the run takes it. */
function inserting(sql: string): string {
  switch (driverUnderTest) {
    case 'postgres':
      return sql
        .replaceAll(FIELD, (found, field: string) => `(${found})::${typeOf(field)}`)
        .replace('json_array(', 'json_build_array(')
        .replace('json_each(?)', 'json_array_elements($1::json)');
    case 'mariadb': {
      const fields = new Set([...sql.matchAll(FIELD)].map(([, field]) => field ?? ''));
      const columns = [...fields].map((field) => `of_${field} ${typeOf(field)} PATH '$.${field}'`);
      return sql
        .replaceAll(FIELD, 'of_$1')
        .replace('json_each(?)', `JSON_TABLE(?, '$[*]' COLUMNS (${columns.join(', ')})) AS given`);
    }
    default:
      return sql;
  }
}

/** Every status, and every filter rare and common, old and new. */
function rowOf(n: number): Row {
  const seq = seqOfMs(now - HOUR_MS) + n * 7919;
  const status: JobStatus =
    n < 60
      ? 'failed'
      : n < 13_000
        ? 'completed'
        : n < 26_000
          ? 'waiting'
          : n < 31_000
            ? ((['canceled', 'timeout', 'skipped', 'completed'] as const)[n % 4] ?? 'skipped')
            : ((['running', 'canceling', 'locked', 'resuming', 'suspended'] as const)[n % 5] ??
              'running');
  const isFinal = ['failed', 'completed', 'canceled', 'timeout', 'skipped'].includes(status);
  const isLater = status === 'waiting' && n % 3 === 0;
  const isHeld = n >= 31_000 && status !== 'suspended';
  const at = msOfSeq(seq);
  const { id, high, low } = newJobId(seq);
  return {
    seq,
    id,
    high,
    low,
    tenant: n % 1000 === 3 ? 'tiny' : n % 11 < 5 ? NIL : n % 11 < 10 ? 'big' : 'small',
    user: n % 50 === 1 ? 'ada' : null,
    key: n % 400 === 2 ? `order-${n}` : null,
    type: n % 97 === 0 ? 'download:beta' : 'compute:alpha',
    queue: n % 97 === 0 ? 'download' : 'compute',
    channel: n % 13 === 0 ? 'gpu' : '',
    priority: n % 5,
    status,
    ready: status === 'waiting' && !isLater ? 1 : 0,
    scheduled_at: at,
    run_at: isLater ? now + HOUR_MS + (n % 100) : at,
    updated_at: now - ((n * 31) % 5000),
    started_at: isFinal || isHeld ? at + (n % 70) : null,
    finished_at: isFinal ? now + HOUR_MS - (n % 900) : null,
    lease: isHeld ? now + 24 * HOUR_MS : null,
    tag: n % 800 === 5 ? 'red' : null,
    upstream: n % 600 === 7 ? idOfSeq(seqOfMs(now)) : null,
  };
}

const ORDERS = [
  '-scheduled_at',
  'scheduled_at',
  'id',
  '-id',
  '-updated_at',
  'run_at',
  '-finished_at,priority',
  'started_at',
  '-priority,scheduled_at',
  'priority,-scheduled_at',
  'scheduled_at,-id',
];

/** What the list must give, by looking at every row. */
function expected(query: JobQuery, order: string): Row[] {
  const parts = order.split(',');
  const of = (row: Row, field: string): number =>
    field === 'id' ? row.seq : Number(row[field as keyof Row] ?? 0);
  const hasId = parts.some((each) => each.replace('-', '') === 'id');
  const fields = hasId ? parts : [...parts, order.startsWith('-') ? '-id' : 'id'];
  const { tenantId, status, type, channel, userId, idempotencyKey, tag, upstreamJobId, q } = query;
  return rows
    .filter(
      (row) =>
        (tenantId === undefined || row.tenant === tenantId) &&
        (status === undefined || status.includes(row.status)) &&
        (type === undefined || type === row.type) &&
        (query.queue === undefined || row.queue === query.queue) &&
        (channel === undefined || row.channel === channel) &&
        (userId === undefined || row.user === userId) &&
        (idempotencyKey === undefined || row.key === idempotencyKey) &&
        (tag === undefined || row.tag === tag) &&
        (upstreamJobId === undefined || row.upstream === upstreamJobId) &&
        (query.scheduledAfter === undefined || row.scheduled_at > query.scheduledAfter.getTime()) &&
        (query.scheduledBefore === undefined ||
          row.scheduled_at < query.scheduledBefore.getTime()) &&
        (q === undefined ||
          row.id === q ||
          row.type.startsWith(q) ||
          row.key?.startsWith(q) === true),
    )
    .sort((a, b) => {
      for (const field of fields) {
        const name = field.replace('-', '');
        const difference = of(a, name) - of(b, name);
        if (difference !== 0) return field.startsWith('-') ? -difference : difference;
      }
      return 0;
    });
}

const rare = <T>(values: readonly T[]): fc.Arbitrary<T | undefined> =>
  fc.option(fc.constantFrom(...values), { nil: undefined, freq: 3 });

const STATUSES = [...new Set(rows.map((row) => row.status)), 'suspending', 'initializing'] as const;
const upstream = rows.find((row) => row.upstream !== null)?.upstream ?? '';

const filters = fc.record({
  tenantId: fc.option(fc.constantFrom(NIL, 'big', 'small', 'tiny', 'nobody'), { nil: undefined }),
  status: fc.option(fc.uniqueArray(fc.constantFrom(...STATUSES), { minLength: 1, maxLength: 3 }), {
    nil: undefined,
  }),
  type: rare(['compute:alpha', 'download:beta', 'no:such']),
  queue: rare(['download', 'compute']),
  channel: rare(['', 'gpu']),
  userId: rare(['ada', 'nobody']),
  idempotencyKey: rare(['order-402', 'order-none']),
  tag: rare(['red', 'blue']),
  upstreamJobId: rare([upstream]),
  q: rare(['download', 'order-1', rows[5000]?.id ?? '', 'none']),
  scheduledAfter: rare([100, 12_000, 30_000].map((n) => new Date(rows[n]?.scheduled_at ?? 0))),
  scheduledBefore: rare([200, 20_000].map((n) => new Date(rows[n]?.scheduled_at ?? 0))),
});

function given(query: JobQuery): JobQuery {
  return Object.fromEntries(
    Object.entries(query).filter(([, value]) => value !== undefined),
  ) as JobQuery;
}

async function matchesModel(
  query: JobQuery,
  order: string,
  limit: number,
  page: number,
): Promise<void> {
  const all = expected(query, order).map((row) => row.id);
  const asked: JobQuery = { ...given(query), order, limit };
  const first = await app.jobs.list({ ...asked, page });
  expect(first.total).toBe(Math.min(all.length, COUNTED));
  expect(first.totalIsExact).toBe(all.length <= COUNTED);
  const from = (page - 1) * limit;
  expect(first.jobs.map((job) => job.id)).toEqual(all.slice(from, from + limit));
  expect(first.nextCursor !== null).toBe(all.length >= from + limit);
  if (first.nextCursor !== null) {
    const second = await app.jobs.list({ ...asked, cursor: first.nextCursor });
    expect(second.jobs.map((job) => job.id)).toEqual(all.slice(from + limit, from + 2 * limit));
    expect([second.total, second.totalIsExact]).toEqual([first.total, first.totalIsExact]);
  }
}

describe('a list of many jobs', () => {
  it.each(ORDERS)(
    'is the same as by looking at each, ordered by %s',
    async (order) => {
      await fc.assert(
        fc.asyncProperty(
          filters,
          fc.constantFrom(1, 7, 60, 1000),
          fc.constantFrom(1, 1, 2, 9),
          (query, limit, page) => matchesModel(query as JobQuery, order, limit, page),
        ),
        { numRuns: 12 },
      );
    },
    60_000,
  );

  it.each<JobQuery>([
    { status: ['failed'] },
    { status: ['waiting'], type: 'download:beta' },
    { status: ['completed'], tenantId: 'big' },
    { status: ['waiting', 'running', 'suspended', 'canceled'], tenantId: NIL },
    { status: ['completed'], type: 'download:beta' },
    { tenantId: 'big', tag: 'red' },
    { idempotencyKey: 'order-402' },
    { q: rows[5000]?.id ?? '' },
  ])('is the same from either end for %o', async (query) => {
    for (const order of ['scheduled_at', '-scheduled_at', '-updated_at']) {
      await matchesModel(query, order, 50, 1);
    }
  });

  it('is walked by cursor to the end, each job once', async () => {
    const query = { status: ['completed'], tenantId: 'big', channel: 'gpu' } as const;
    const seen: string[] = [];
    let cursor: string | null | undefined;
    do {
      const page = await app.jobs.list({
        ...query,
        limit: 90,
        order: '-priority',
        ...(cursor === undefined ? {} : { cursor: cursor ?? '' }),
      });
      seen.push(...page.jobs.map((job) => job.id));
      cursor = page.nextCursor;
    } while (cursor !== null);
    expect(seen).toEqual(expected(query, '-priority').map((row) => row.id));
  });

  it('leaves the event loop to others between the slices of what it reads', async () => {
    let turns = 0;
    let isOn = true;
    const turn = (): void => {
      turns += 1;
      if (isOn) setImmediate(turn);
    };
    setImmediate(turn);
    await Promise.all(Array.from({ length: 10 }, () => app.jobs.list({ tag: 'blue', limit: 1 })));
    isOn = false;
    expect(turns).toBeGreaterThanOrEqual(9);
  });
});

describe('counts of many jobs', () => {
  it.each([undefined, NIL, 'big', 'small', 'tiny', 'nobody'])(
    'are right for tenant %s',
    async (tenantId) => {
      const scope = tenantId === undefined ? {} : { tenantId };
      const own = rows.filter((row) => tenantId === undefined || row.tenant === tenantId);
      const count = (meets: (row: Row) => boolean): number =>
        Math.min(COUNTED, own.filter(meets).length);
      const stats = await app.stats.stats(scope);
      for (const status of STATUSES) {
        expect([status, stats.byStatus[status]]).toEqual([
          status,
          count((row) => row.status === status),
        ]);
      }
      expect(stats.byType['download:beta'] ?? 0).toBe(count((row) => row.type === 'download:beta'));
      expect(stats.byQueue['compute'] ?? 0).toBe(count((row) => row.queue === 'compute'));
      expect(stats.completedLastMinute).toBe(count((row) => row.status === 'completed'));
      const oldest = own.find((row) => row.ready === 1 && row.type === 'compute:alpha');
      expect(stats.oldestWaitingAt?.getTime()).toBe(oldest?.scheduled_at);
      const queue = await app.queues.get('compute', scope);
      expect(queue.waiting).toBe(
        Math.min(
          COUNTED,
          count((row) => row.ready === 1 && row.type === 'compute:alpha') +
            count((row) => row.status === 'waiting' && row.ready === 0 && row.queue === 'compute'),
        ),
      );
      expect(queue.running).toBe(
        count((row) => row.lease !== null && row.status !== 'resuming' && row.queue === 'compute'),
      );
    },
  );
});

describe('cancel-waiting', () => {
  it('cancels what waits in the queue, ready or for later, page by page, and of the tenant alone', async () => {
    const own = rows.filter(
      (row) => row.tenant === 'small' && row.status === 'waiting' && row.queue === 'compute',
    );
    expect(own.length).toBeGreaterThan(1000);
    const before = await app.sql<{ n: number }>(
      "SELECT COUNT(*) AS n FROM jobs WHERE status = 'waiting'",
    );
    expect(await app.queues.cancelWaiting('compute', { tenantId: 'small' })).toBe(own.length);
    const after = await app.sql<{ n: number }>(
      "SELECT COUNT(*) AS n FROM jobs WHERE status = 'waiting'",
    );
    expect(after[0]?.n).toBe((before[0]?.n ?? 0) - own.length);
    expect(await app.queues.cancelWaiting('compute', { tenantId: 'small' })).toBe(0);
  });
});
