import { beforeAll, describe, expect, it } from 'vitest';
import type { QueryRunner } from 'typeorm';
import { JobType, type JobHandler } from '../../lib/index.js';
import { newId } from '../../lib/model/id.js';
import { NIL_TENANT } from '../../lib/model/tenant.js';
import { MysqlClaimScript } from '../../lib/store/dialects/mysql/claim.script.js';
import { MysqlExecutor } from '../../lib/store/dialects/mysql/connection.js';
import { MysqlDutyScripts } from '../../lib/store/dialects/mysql/duty.scripts.js';
import { MysqlLimitedClaims } from '../../lib/store/dialects/mysql/limited-claim.script.js';
import { MysqlJobScripts } from '../../lib/store/dialects/mysql/job.scripts.js';
import { bind } from '../../lib/store/dialects/mysql/literals.js';
import { MYSQL_WORDS } from '../../lib/store/dialects/mysql/mysql-words.js';
import type { MysqlClient } from '../../lib/store/dialects/mysql/mysql2.js';
import { CHANGES_SQL, runScriptAsync, type Script } from '../../lib/store/dialects/sql.js';
import type { ClaimRequest, LimitedRequest } from '../../lib/store/store.js';
import { heldRuns } from '../../lib/store/typeorm/history.store.js';
import { DeliveryInserts } from '../../lib/store/typeorm/delivery-inserts.js';
import { DeliveryScripts } from '../../lib/store/typeorm/delivery.scripts.js';
import { completeHeard } from '../../lib/store/typeorm/heard-ends.script.js';
import { ListScripts } from '../../lib/store/typeorm/list.script.js';
import { purge } from '../../lib/store/typeorm/purge.script.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { closeLater } from '../support/cleanup.js';

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): void {}
}

const ROWS = 20_000;
const tables = tableNames(undefined, undefined, MYSQL_WORDS);
const jobs = new MysqlJobScripts(tables, true);
const claims = new MysqlClaimScript(tables);
const limited = new MysqlLimitedClaims(tables, jobs, claims);
const duties = new MysqlDutyScripts(tables);
const deliveries = new DeliveryScripts(tables);
const inserts = new DeliveryInserts(tables);
const lists = new ListScripts(tables);
const now = Date.now();
const here: ClaimRequest = {
  queue: 'default',
  types: ['default:plain'],
  channels: [''],
  limit: 500,
  workerId: newId(),
  leaseMs: 1000,
  starts: false,
  onlyIfReady: false,
};
const withLimits: LimitedRequest = {
  ...here,
  types: ['default:limited'],
  limit: 10,
  limits: new Map([
    [
      'default:limited',
      {
        ceilings: [{ scope: 'type:default:limited', most: 4, perMs: undefined, part: 0 }],
        isTenant: [true],
      },
    ],
  ]),
};
const elsewhere: ClaimRequest = { ...here, types: ['default:none'] };
const many: ClaimRequest = { ...here, types: ['default:plain', 'default:none'] };

let app: BootedJobs;
let runner: QueryRunner;
let seq: number;
let id: string;

const BELIEFS: readonly (readonly [string, string | undefined])[] = [
  ['of when the table was empty', undefined],
  ['of today', 'ANALYZE TABLE jobs'],
];

beforeAll(async () => {
  app = await bootJobs({ types: [Plain], options: { role: 'producer' }, lifetime: 'file' });
  await app.sql('ALTER TABLE jobs STATS_PERSISTENT = 1, STATS_AUTO_RECALC = 0');
  await app.sql('ANALYZE TABLE jobs');
  ({ id } = await app.jobs.enqueue(Plain));
  const [seed] = await app.sql<{ seq: number }>('SELECT seq FROM jobs');
  seq = Number(seed?.seq);
  // As many of each: waiting for their time, ended, ready elsewhere, running; and one is ready here.
  const columns = (
    await app.sql<{ name: string }>(
      `SELECT column_name AS name FROM information_schema.columns
       WHERE table_schema = DATABASE() AND table_name = 'jobs' AND extra NOT LIKE '%GENERATED%' ORDER BY ordinal_position`,
    )
  ).map((row) => row.name);
  const fill = (changed: Readonly<Record<string, string>>): Promise<unknown> =>
    app.sql(
      `INSERT INTO jobs (${columns.join(', ')})
       WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 200)
       SELECT ${columns.map((name) => changed[name] ?? `seed.${name}`).join(', ')}
       FROM n AS a CROSS JOIN n AS b CROSS JOIN jobs AS seed WHERE seed.seq = ${seq} AND a.i <= ${ROWS / 200}`,
    );
  const i = '(a.i * 200 + b.i)';
  const at = (from: number): Record<string, string> => ({
    seq: `seed.seq - ${from} - ${i}`,
    job_id: `CONCAT('id ${from} ', ${i})`,
  });
  await fill({ ...at(1e6), ready: '0', run_at_ms: `${now + 1e7} + ${i}` });
  await fill({ ...at(2e6), ready: '0', status: "'completed'", finished_at_ms: `${now} - ${i}` });
  await fill({ ...at(3e6), type: "'default:other'" });
  await fill({
    ...at(4e6),
    ready: '0',
    status: "'running'",
    worker_id: "'other'",
    lease_until_ms: `${now} + ${i}`,
  });
  await fill({
    ...at(5e6),
    type: "'default:limited'",
    ready: '2',
    limit_key: `CASE WHEN ${i} <= ${ROWS - 30} THEN 'noisy' ELSE CONCAT('key ', ${i}) END`,
  });
  // One job that has told its receiver much, and has one thing more to tell; one that has told nothing yet.
  const told = (target: string, jobSeq: number, pending: string): Promise<unknown> =>
    app.sql(
      `INSERT INTO job_deliveries (id, target, lane, due_at_ms, job_seq, sequence, tenant_id, event,
         status, attempts, lost, created_at_ms, updated_at_ms)
       WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900)
       SELECT CONCAT('${target} ', i), '${target}', CASE WHEN ${pending} THEN '${target}' END, 0, ${jobSeq},
         i, '', 'x', CASE WHEN ${pending} THEN 'pending' ELSE 'delivered' END, 0, 0, 0, 0 FROM n`,
    );
  await told('talkative', 1, 'i = 900');
  await told('unheard', 2, 'true');
  runner = app.dataSource.createQueryRunner();
  closeLater(() => runner.release(), 'file');
}, 60_000);

interface Plan {
  /** The indexes that lead to jobs, in the order of the statements; a scan is named by its kind. */
  readonly ways: readonly string[];
  readonly sorts: boolean;
  /** Rows and entries of indexes that were looked at. */
  readonly reads: number;
}

/** How the server goes about the statements of a script; what they change is taken back. */
async function planOf(script: Script<unknown>): Promise<Plan> {
  const ways: string[] = [];
  let sorts = false;
  let reads = 0;
  await runner.startTransaction('READ COMMITTED');
  try {
    const executor = new MysqlExecutor((await runner.connect()) as MysqlClient, false, () => {});
    await runScriptAsync(script, async (statement) => {
      if (statement.sql === CHANGES_SQL) {
        return executor.execute(statement);
      }
      const plan = (await runner.query(
        `EXPLAIN ${bind(statement.sql, statement.params)}`,
      )) as Record<string, string | null>[];
      for (const step of plan) {
        if (step['table'] === 'jobs' || step['table'] === 'job') {
          ways.push(step['key'] ?? String(step['type']));
        }
        sorts ||= step['Extra']?.includes('filesort') ?? false;
      }
      reads -= await readsSoFar();
      const rows = await executor.execute(statement);
      reads += await readsSoFar();
      return rows;
    });
  } finally {
    await runner.rollbackTransaction();
  }
  return { ways: [...new Set(ways)], sorts, reads };
}

async function readsSoFar(): Promise<number> {
  const counts = (await runner.query(
    `SHOW SESSION STATUS WHERE Variable_name LIKE 'Handler_read%' AND Variable_name NOT LIKE '%deleted'
       AND Variable_name NOT LIKE 'Handler_read_rnd%'`,
  )) as { Value: string }[];
  return counts.reduce((sum, { Value }) => sum + Number(Value), 0);
}

const SCRIPTS: readonly [string, () => Script<unknown>, readonly string[]][] = [
  ['a claim', () => claims.claim(here, now + 1e5), ['ix_jobs_ready', 'PRIMARY']],
  ['a claim of several types', () => claims.claim(many, now + 1e5), ['ix_jobs_ready', 'PRIMARY']],
  ['an empty claim', () => claims.claim(elsewhere, now), ['ix_jobs_ready']],
  ['a look for ready jobs', () => claims.hasReady(elsewhere), ['ix_jobs_ready']],
  ['all channels', () => claims.claim({ ...elsewhere, channels: '*' }, now), []],
  [
    'the end of runs',
    () =>
      jobs.complete(
        [seq, seq - 4_000_201].map((each) => ({
          seq: each,
          runId: newId(),
          startedAtMs: now,
          result: '1',
        })),
        now,
      ),
    ['PRIMARY'],
  ],
  [
    'the end of runs that somebody hears of',
    () =>
      completeHeard(
        tables,
        jobs,
        [seq, seq - 4_000_201].map((each) => ({
          seq: each,
          runId: newId(),
          startedAtMs: now,
          result: '1',
        })),
        now,
      ),
    ['PRIMARY'],
  ],
  ['a report', () => jobs.report([{ seq, runId: newId(), progress: 0.5 }], now), ['PRIMARY']],
  ['the next due job', () => jobs.nextDue(now), []],
  ['a promotion', () => jobs.promote(100, now), ['ix_jobs_phase']],
  ['a look for expired leases', () => duties.expiredLeases(100, now), ['ix_jobs_phase']],
  ['a look for overdue jobs', () => duties.isAnyOverdue(now), ['ix_jobs_overdue']],
  // A key that nobody holds is looked up before there is a plan.
  ['a look for a key', () => lists.findByKey(NIL_TENANT, 'key'), []],
  ['a look for a job', () => lists.find(id, undefined), ['PRIMARY']],
];

describe.each(BELIEFS)('with statistics %s', (_name, statement) => {
  beforeAll(async () => {
    if (statement !== undefined) {
      await app.sql(statement);
    }
  });

  it.each(SCRIPTS)('%s goes by its index', async (what, script, ways) => {
    const plan = await planOf(script());
    expect(plan.ways.filter((way) => way !== 'NULL')).toEqual(ways);
    // What is held stands in five ranges: the few whose time is over are sorted.
    expect(plan.sorts).toBe(what === 'a look for expired leases');
    expect(plan.reads).toBeLessThan(30);
  });

  it('a claim within limits steps from key to key, and looks at what is held', async () => {
    const plan = await planOf(limited.claim(withLimits, now + 1e6));
    expect(plan.ways.filter((way) => way !== 'NULL').toSorted()).toEqual([
      'PRIMARY',
      'ix_jobs_phase',
      'ix_jobs_ready',
    ]);
    expect(plan.reads).toBeLessThan(ROWS * 2.1);
  });

  it('a renewal, and a look for who is to stop, look at what is held, and nothing else', async () => {
    for (const script of [jobs.renew(newId(), 1000, now), jobs.disturbed(newId(), now, [])]) {
      const plan = await planOf(script);
      expect(plan.ways).toEqual(['ix_jobs_phase']);
      expect(plan.reads).toBeLessThan(ROWS * 2.1);
    }
    expect((await planOf(heldRuns(tables, [newId()], 100))).ways).toEqual(['ix_jobs_phase']);
  });

  it('to take what is to be sent reads nothing of what was delivered', async () => {
    const take = (lane: string): Script<unknown> =>
      deliveries.take([{ lane, most: 8 }], newId(), 1000, now);
    expect((await planOf(take('talkative'))).reads).toBeLessThan(60);
    // Nor does each of those that wait read all that wait behind it.
    expect((await planOf(take('unheard'))).reads).toBeLessThan(900 * 10);
  });

  it('a look whether anything is due later in a lane is one range of it', async () => {
    const given = { jobSeq: 1, sequence: 2, jobId: '', tenantId: '', event: 'x', url: null };
    for (const lane of ['talkative', 'unheard']) {
      const held = inserts.isAnyHeldUp([{ ...given, id: newId(), target: lane, lane }], now);
      expect((await planOf(held)).reads).toBeLessThan(5);
    }
  });

  it('retention goes by when jobs ended', async () => {
    const plan = await planOf(purge(tables, 'completed', now - ROWS));
    expect(plan.ways[0]).toBe('ix_jobs_phase');
    expect(plan.sorts).toBe(false);
  });
});
