import { beforeAll, describe, expect, it } from 'vitest';
import type { QueryRunner } from 'typeorm';
import { JobType, type JobHandler } from '../../lib/index.js';
import { newId } from '../../lib/model/id.js';
import { NIL_TENANT } from '../../lib/model/tenant.js';
import { PostgresClaimScript } from '../../lib/store/dialects/postgres/claim.script.js';
import { PostgresDutyScripts } from '../../lib/store/dialects/postgres/duty.scripts.js';
import { FrontLook } from '../../lib/store/dialects/postgres/front-look.js';
import { fuse } from '../../lib/store/dialects/postgres/fuse.js';
import { PostgresInsertsBehind } from '../../lib/store/dialects/postgres/insert-behind.js';
import { PostgresInsertScript } from '../../lib/store/dialects/postgres/insert.script.js';
import { PostgresLimitedClaims } from '../../lib/store/dialects/postgres/limited-claim.script.js';
import { PostgresJobScripts } from '../../lib/store/dialects/postgres/job.scripts.js';
import { POSTGRES_WORDS } from '../../lib/store/dialects/postgres/words.js';
import { NumberSource } from '../../lib/store/dialects/shared/number-source.js';
import { runScriptAsync, type Row, type Script } from '../../lib/store/dialects/sql.js';
import type { ClaimRequest, LimitedRequest } from '../../lib/store/store.js';
import { heldRuns } from '../../lib/store/typeorm/history.store.js';
import { completeHeard } from '../../lib/store/typeorm/heard-ends.script.js';
import { ListScripts } from '../../lib/store/typeorm/list.script.js';
import { purge } from '../../lib/store/typeorm/purge.script.js';
import { ScheduleScripts } from '../../lib/store/typeorm/schedule.scripts.js';
import { waitersAmong } from '../../lib/store/typeorm/lock.script.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';
import { bootJobs } from '../support/boot.js';
import { draftBehind } from '../support/drafts.js';
import { createDatabase } from '../support/databases.js';
import { blocks, firstOf, nodes, planOf, quoted, sessionsOf, type Plan } from './support/plans.js';

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): void {}
}

const ROWS = 20_000;
/** Pages of an index, and of a few rows; whoever walks through an index reads a hundred and more. */
const FEW = 40;
const tables = tableNames(undefined, undefined, POSTGRES_WORDS);
const jobs = new PostgresJobScripts(tables);
const claims = new PostgresClaimScript(tables);
const limited = new PostgresLimitedClaims(tables, jobs, claims);
const duties = new PostgresDutyScripts(tables);
const lists = new ListScripts(tables);
const now = Date.now();
const request: ClaimRequest = {
  queue: 'default',
  types: ['default:plain'],
  channels: [''],
  limit: 500,
  workerId: 'worker',
  leaseMs: 1000,
  starts: false,
  onlyIfReady: false,
};

const withLimits: LimitedRequest = {
  ...request,
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

const behind = new PostgresInsertsBehind(
  tables,
  new PostgresInsertScript(tables, new NumberSource()),
);

let readyId: string;
let writing: QueryRunner;
let reading: QueryRunner;

/** What the statistics believe, in the order in which they can. */
const BELIEFS: readonly { readonly from: string; readonly steps: readonly string[] }[] = [
  { from: 'of when everything waited for its time', steps: [] },
  {
    from: 'of when the table was empty',
    steps: [
      `DELETE FROM pg_statistic WHERE starelid = 'jobs'::regclass`,
      `UPDATE pg_class SET reltuples = 0, relpages = 0 WHERE relname LIKE '%jobs%'`,
    ],
  },
  { from: 'of today', steps: ['ANALYZE jobs'] },
];

beforeAll(async () => {
  const app = await bootJobs({
    types: [Plain],
    options: { role: 'producer' },
    // Not one that was emptied: what others deleted still lies in its indexes.
    database: createDatabase('file', 'nothing'),
    lifetime: 'file',
  });
  const { id } = await app.jobs.enqueue(Plain);
  readyId = id;
  await app.sql('ALTER TABLE jobs SET (autovacuum_enabled = false)');
  // As many of each: waiting for their time, ended, ready elsewhere, running; and one is ready here.
  const columns = (
    await app.sql<{ name: string }>(
      `SELECT column_name AS name FROM information_schema.columns WHERE table_name = 'jobs'`,
    )
  ).map((row) => row.name);
  const fill = (changed: Readonly<Record<string, string>>): Promise<unknown> =>
    app.sql(
      `INSERT INTO jobs (${columns.join(', ')}) SELECT ${columns
        .map((name) => changed[name] ?? `seed.${name}`)
        .join(
          ', ',
        )} FROM generate_series(1, ${ROWS}) AS i, jobs AS seed WHERE seed.job_id = '${id}'`,
    );
  const at = (from: number): Record<string, string> => ({
    seq: `seed.seq - ${from} - i`,
    job_id: `'id ${from} ' || i`,
  });
  await fill({ ...at(1e6), ready: '0', run_at_ms: `${now + 1e7} + i` });
  await app.sql('ANALYZE jobs');
  await fill({ ...at(2e6), ready: '0', status: "'completed'", finished_at_ms: `${now} - i` });
  await fill({ ...at(3e6), type: "'default:other'" });
  await fill({
    ...at(4e6),
    ready: '0',
    status: "'running'",
    worker_id: "'other'",
    lease_until_ms: `${now} + i`,
  });
  await fill({
    ...at(5e6),
    type: "'default:limited'",
    ready: '2',
    limit_key: `CASE WHEN i <= ${ROWS - 30} THEN 'noisy' ELSE 'key ' || i END`,
  });
  await app.sql(
    `INSERT INTO job_schedule_jobs (seq, schedule_id, job_id)
     SELECT i, 'schedule ' || i % 2, 'job ' || i FROM generate_series(1, ${ROWS}) AS i`,
  );
  ({ writing, reading } = await sessionsOf(app.dataSource));
}, 60_000);

/** The indexes that lead to jobs; whatever else would lead to them is named by its kind. */
function waysToJobs(plan: Plan): readonly string[] {
  const ways = nodes(plan).flatMap((node) => {
    const isOfJobs =
      node['Relation Name'] === 'jobs' || /^(ix_)?jobs_/.test(node['Index Name'] ?? '');
    return isOfJobs && node['Node Type'] !== 'ModifyTable' && node['Node Type'] !== 'LockRows'
      ? [node['Index Name'] ?? node['Node Type']]
      : [];
  });
  return [...new Set(ways)].toSorted();
}

const completion = { seq: 1, runId: 'run', startedAtMs: now, result: null };
const many: ClaimRequest = { ...request, types: ['default:plain', 'default:none'] };
const elsewhere: ClaimRequest = { ...request, types: ['default:none'] };
/** Claims where it is known that nothing waits any more in the lines that most jobs are in. */
const fromEnd = (priorities: readonly number[]): PostgresClaimScript =>
  new PostgresClaimScript(tables, {
    rangesOf: (_request, lanes) =>
      lanes.flatMap(([type, channel]) =>
        priorities.map((priority) => ({ type, channel, priority, fromMs: now + 1e9 })),
      ),
    taken: () => undefined,
  });
const busy: ClaimRequest = { ...request, types: ['default:other'] };
const WRITES: readonly [string, () => Script<unknown>, readonly string[]][] = [
  ['a claim', () => claims.claim(request, now), ['ix_jobs_ready', 'jobs_pkey']],
  ['a claim of several types', () => claims.claim(many, now), ['ix_jobs_ready', 'jobs_pkey']],
  ['an empty claim', () => claims.claim(elsewhere, now), ['ix_jobs_ready', 'jobs_pkey']],
  [
    'a claim from where a line begins',
    () => fromEnd([0]).claim(busy, now),
    ['ix_jobs_ready', 'jobs_pkey'],
  ],
  [
    'a claim from where several lines begin',
    () => fromEnd([0, 5]).claim(busy, now),
    ['ix_jobs_ready', 'jobs_pkey'],
  ],
  ['the end of runs', () => jobs.complete([completion], now), ['jobs_pkey']],
  [
    'the end of runs that somebody hears of',
    () => completeHeard(tables, jobs, [completion, { ...completion, seq: 2 }], now),
    ['jobs_pkey'],
  ],
  ['a report', () => jobs.report([{ seq: 1, runId: 'run' }], now), ['jobs_pkey']],
  ['the renewal of leases', () => jobs.renew('mine', 1000, now), ['ix_jobs_lease', 'jobs_pkey']],
  ['a promotion', () => jobs.promote(500, now), ['ix_jobs_due', 'jobs_pkey']],
];
const READS: readonly [string, () => Script<unknown>, readonly string[]][] = [
  ['a look for ready jobs', () => claims.hasReady(elsewhere), ['ix_jobs_ready']],
  [
    'a look at where lines begin',
    () => new FrontLook(tables).script([['default:none', '']]),
    ['ix_jobs_ready'],
  ],
  ['the next due job', () => jobs.nextDue(now), ['ix_jobs_due']],
  ['a look for expired leases', () => duties.expiredLeases(100, now), ['ix_jobs_lease']],
  ['a look at one worker’s runs', () => jobs.disturbed('mine', now, [1, 2]), ['jobs_pkey']],
  ['a look for overdue jobs', () => duties.isAnyOverdue(now), ['ix_jobs_expiry']],
  ['a look for a key', () => lists.findByKey(NIL_TENANT, 'key'), ['ix_jobs_key']],
  [
    'a look for several keys',
    () => lists.findByKeys([{ tenantId: NIL_TENANT, key: 'key' }]),
    ['ix_jobs_key'],
  ],
  ['a look at what a worker runs', () => heldRuns(tables, ['mine'], 100), ['ix_jobs_lease']],
  [
    'a look at what jobs wait for',
    () =>
      waitersAmong(tables, [
        [1, 0],
        [2, 3],
      ]),
    ['jobs_pkey'],
  ],
  ['a look for a job', () => lists.find(newId(), undefined), ['jobs_pkey']],
];

describe.each(BELIEFS)('with statistics $from', ({ steps }) => {
  beforeAll(async () => {
    for (const step of steps) {
      await reading.query(step);
    }
  });

  it.each(WRITES)('%s goes by its index', async (_name, script, ways) => {
    const plan = await planOf(writing, firstOf(script()));
    expect(waysToJobs(plan)).toEqual(ways);
  });

  it.each(READS)('%s goes by its index', async (_name, script, ways) => {
    const plan = await planOf(reading, firstOf(script()));
    expect(waysToJobs(plan)).toEqual(ways);
    expect(blocks(plan)).toBeLessThan(FEW);
  });

  it('a page of the jobs of a schedule that have not ended begins where the last one ended', async () => {
    const schedules = new ScheduleScripts(tables);
    const page = firstOf(schedules.openJobs('schedule 1', ROWS / 2, 10));
    const plan = await planOf(reading, page);
    expect(nodes(plan).flatMap((node) => node['Index Name'] ?? [])).toEqual([
      'ix_job_schedule_jobs_schedule',
    ]);
    expect(plan['Actual Rows']).toBe(10);
    expect(blocks(plan)).toBeLessThan(FEW / 2);
  });

  it('an enqueue of a job that waits for others finds them by their rows', async () => {
    const plan = await planOf(writing, firstOf(behind.insert([draftBehind([readyId])], now)));
    expect(waysToJobs(plan)).toEqual(['jobs_pkey']);
    const stored = nodes(plan).filter((node) => node['Node Type'] === 'ModifyTable');
    expect(stored.map((node) => node['Relation Name'] ?? '').toSorted()).toEqual([
      'job_dependencies',
      'job_extras',
      'jobs',
      'jobs',
    ]);
    expect(blocks(plan)).toBeLessThan(2 * FEW);
  });

  it('the end of a batch and the next claim together go by both indexes, with no sort', async () => {
    const both = fuse(
      firstOf(jobs.complete([completion], now)),
      firstOf(claims.claim(elsewhere, now)),
    );
    const plan = await planOf(writing, both);
    expect(waysToJobs(plan)).toEqual(['ix_jobs_ready', 'jobs_pkey']);
    expect(nodes(plan).map((node) => node['Node Type'])).not.toContain('Sort');
    expect(blocks(plan)).toBeLessThan(FEW);
  });

  it('a claim within limits steps from key to key, takes of each by its range, and counts by key', async () => {
    const plans: Plan[] = [];
    await writing.startTransaction();
    try {
      await runScriptAsync(limited.claim(withLimits, now + 1e6), async ({ sql, params }) => {
        let n = 0;
        await writing.query(`PREPARE it AS ${sql.replaceAll('?', () => `$${(n += 1)}`)}`);
        const execute = `EXECUTE it (${params.map(quoted).join(', ')})`;
        await writing.query('SAVEPOINT before');
        const rows = (await writing.query(
          `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${execute}`,
        )) as {
          'QUERY PLAN': { Plan: Plan }[];
        }[];
        plans.push((rows[0] as (typeof rows)[number])['QUERY PLAN'][0]?.Plan as Plan);
        await writing.query('ROLLBACK TO before');
        const result = (await writing.query(execute)) as object[] | [object[], number];
        await writing.query('DEALLOCATE it');
        const found = (Array.isArray(result[0]) ? result[0] : result) as object[];
        return found.map((row) => Object.values(row) as Row);
      });
    } finally {
      await writing.rollbackTransaction();
      await writing.query('DEALLOCATE ALL');
    }
    expect([...new Set(plans.flatMap(waysToJobs))].toSorted()).toEqual([
      'ix_jobs_at_work',
      'ix_jobs_ready',
      'ix_jobs_turns',
      'jobs_pkey',
    ]);
    // Ten keys, of which one has all but thirty of the jobs.
    for (const plan of plans) {
      expect(blocks(plan)).toBeLessThan(1000);
    }
  });

  it.each([[[0]], [[0, 5]]])(
    'a claim from where lines begin passes nothing ahead of that: priorities %j',
    async (priorities) => {
      const plan = await planOf(writing, firstOf(fromEnd(priorities).claim(busy, now)));
      expect(blocks(plan)).toBeLessThan(FEW);
    },
  );

  it('the usual one is one statement, which the end of a batch shares, and goes by the same indexes', async () => {
    const atOnce = firstOf(limited.claimAtOnce(withLimits, now + 1e6));
    await writing.query(
      `INSERT INTO job_limits (scope, limit_key, turn)
       VALUES ('queue:default', '', 'key'), ('type:default:limited', '', 'key')`,
    );
    const plan = await planOf(writing, fuse(firstOf(jobs.complete([completion], now)), atOnce));
    await writing.query('DELETE FROM job_limits');
    expect(nodes(plan).map((node) => node['Actual Rows'])).toContain(withLimits.limit);
    expect(waysToJobs(plan)).toEqual([
      'ix_jobs_at_work',
      'ix_jobs_ready',
      'ix_jobs_turns',
      'jobs_pkey',
    ]);
    expect(blocks(plan)).toBeLessThan(1000);
  });

  it('an empty claim looks at a handful of pages', async () => {
    const plan = await planOf(writing, firstOf(claims.claim(elsewhere, now)));
    expect(blocks(plan)).toBeLessThan(FEW);
  });

  it('retention goes by when jobs ended', async () => {
    const plan = await planOf(writing, firstOf(purge(tables, 'completed', now)));
    // By their key: jobs that depend on one that has ended.
    expect(waysToJobs(plan)).toEqual(['ix_jobs_ended', 'jobs_pkey']);
  });
});
