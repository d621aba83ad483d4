import { beforeAll, describe, expect, it } from 'vitest';
import type { QueryRunner } from 'typeorm';
import { newId } from '../../lib/model/id.js';
import { POSTGRES_WORDS } from '../../lib/store/dialects/postgres/words.js';
import type { Script } from '../../lib/store/dialects/sql.js';
import { listDeliveries } from '../../lib/store/typeorm/delivery-lists.script.js';
import { DeliveryInserts, type NewDelivery } from '../../lib/store/typeorm/delivery-inserts.js';
import { DeliveryScripts } from '../../lib/store/typeorm/delivery.scripts.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';
import { bootJobs } from '../support/boot.js';
import { createDatabase } from '../support/databases.js';
import { blocks, firstOf, nodes, planOf, sessionsOf, type Plan } from './support/plans.js';

const ROWS = 20_000;
const LANES = 200;
const tables = tableNames(undefined, undefined, POSTGRES_WORDS);
const deliveries = new DeliveryScripts(tables);
const inserts = new DeliveryInserts(tables);
const now = Date.now();

let writing: QueryRunner;
let reading: QueryRunner;
/** Sessions keep the plans that they have made before there was anything. */
let waysWhenEmpty: readonly string[];

/** What the statistics believe, in the order in which they can. */
const BELIEFS: readonly { readonly from: string; readonly steps: readonly string[] }[] = [
  { from: 'of when the table was empty', steps: [] },
  { from: 'of today', steps: ['ANALYZE job_deliveries', 'ANALYZE job_webhooks'] },
];

beforeAll(async () => {
  const app = await bootJobs({
    options: { role: 'producer' },
    database: createDatabase('file', 'nothing'),
    lifetime: 'file',
  });
  await app.sql('ALTER TABLE job_deliveries SET (autovacuum_enabled = false)');
  await app.sql('ANALYZE job_deliveries');
  ({ writing, reading } = await sessionsOf(app.dataSource));
  waysWhenEmpty = ways(await planOf(writing, firstOf(take('lane 1')())));
  const fill = (from: number, target: string, status: string, dueAtMs: string): Promise<unknown> =>
    app.sql(
      `INSERT INTO job_deliveries (id, target, lane, due_at_ms, job_seq, sequence, tenant_id, event,
         status, attempts, lost, created_at_ms, updated_at_ms)
       SELECT '${from} ' || lpad(i::text, 6, '0'), ${target},
         CASE WHEN '${status}' = 'pending' THEN ${target} END, ${dueAtMs}, i, ${from}, '', 'x',
         '${status}', 0, 0, 0, 0 FROM generate_series(1, ${ROWS}) AS i`,
    );
  await app.sql(
    `INSERT INTO job_webhooks (id, url, is_declared, is_enabled, created_at_ms, updated_at_ms)
     SELECT 'lane ' || i, '', 0, 1, 0, 0 FROM generate_series(1, ${LANES}) AS i
     UNION ALL SELECT 'talkative', '', 0, 1, 0, 0
     UNION ALL SELECT 'disabled', '', 0, 0, 0, 0`,
  );
  const some = `'lane ' || (1 + i % ${LANES})`;
  // As many of each: sent long ago, waiting for an endpoint that is disabled, waiting for their time, due.
  await fill(1, some, 'delivered', 'NULL');
  await fill(2, "'disabled'", 'pending', '0');
  await fill(3, some, 'pending', `${now} + 10000000 + i`);
  await fill(4, "'lane 1'", 'pending', '0');
  // One job that has told its receiver much, and has one thing more to tell.
  await app.sql(
    `INSERT INTO job_deliveries (id, target, lane, due_at_ms, job_seq, sequence, tenant_id, event,
       status, attempts, lost, created_at_ms, updated_at_ms)
     SELECT '5 ' || i, 'talkative', CASE WHEN i = ${ROWS} THEN 'talkative' END, 0, 1, i, '', 'x',
       CASE WHEN i = ${ROWS} THEN 'pending' ELSE 'delivered' END, 0, 0, 0, 0
     FROM generate_series(1, ${ROWS}) AS i`,
  );
}, 60_000);

/** The ways to deliveries: indexes, else what it is. */
function ways(plan: Plan): readonly string[] {
  const found = nodes(plan).flatMap((node) => {
    const isOfDeliveries =
      node['Relation Name'] === 'job_deliveries' || /job_deliveries/.test(node['Index Name'] ?? '');
    return isOfDeliveries && node['Node Type'] !== 'LockRows'
      ? [node['Index Name'] ?? node['Node Type']]
      : [];
  });
  return [...new Set(found)].toSorted();
}

/** Something that may come behind what its lane holds. */
function behind(lane: string): NewDelivery {
  const job = { jobSeq: 1, jobId: '', tenantId: '', event: 'x' };
  return { ...job, id: newId(), target: lane, lane, sequence: 2, url: null };
}

const take = (lane: string) => (): Script<unknown> =>
  deliveries.take([{ lane, most: 32 }], 'holder', 1000, now);
const TAKES: readonly [string, () => Script<unknown>][] = [
  ['a full lane', take('lane 1')],
  ['a lane that is not due', take('lane 2')],
  ['a lane of an endpoint that is disabled', take('disabled')],
];
const list = (status: 'delivered' | 'failed' | undefined) => (): Script<unknown> =>
  listDeliveries(tables, { of: { endpoint: 'lane 1' }, status, limit: 50, before: '9' });

it('to take goes by what is due also as it was planned when nothing was', () => {
  expect(waysWhenEmpty).toEqual(['ix_job_deliveries_lane', 'ix_job_deliveries_order']);
});

describe.each(BELIEFS)('with statistics $from', ({ steps }) => {
  beforeAll(async () => {
    for (const step of steps) {
      await reading.query(step);
    }
  });

  it.each(TAKES)('to take from %s goes by what is due there', async (_name, script) => {
    const plan = await planOf(writing, firstOf(script()));
    expect(ways(plan)).toEqual(['ix_job_deliveries_lane', 'ix_job_deliveries_order']);
    expect(blocks(plan)).toBeLessThan(1000);
  });

  it('to take what comes behind much that was delivered reads none of that', async () => {
    const plan = await planOf(writing, firstOf(take('talkative')()));
    expect(ways(plan)).toEqual(['ix_job_deliveries_lane', 'ix_job_deliveries_order']);
    expect(plan['Actual Rows']).toBe(1);
    expect(blocks(plan)).toBeLessThan(100);
  });

  it('a look whether anything is due later in a lane is one range of it', async () => {
    for (const lane of ['lane 2', 'talkative']) {
      const plan = await planOf(writing, firstOf(inserts.isAnyHeldUp([behind(lane)], now)));
      expect(ways(plan)).toEqual(['ix_job_deliveries_lane']);
      expect(blocks(plan)).toBeLessThan(10);
    }
  });

  it('a look at all lanes steps from one to the next', async () => {
    const plan = await planOf(reading, firstOf(deliveries.lanes('')));
    expect(ways(plan)).toEqual(['ix_job_deliveries_lane']);
    expect(plan['Actual Rows']).toBe(LANES + 2);
    // Two looks into the index for each, and one at its endpoint.
    expect(blocks(plan)).toBeLessThan(LANES * 15);
  });

  it.each([
    ['of all statuses', list(undefined)],
    ['of one', list('delivered')],
    ['of one that is rare', list('failed')],
  ])('a list %s goes by its receiver', async (_name, script) => {
    const plan = await planOf(reading, firstOf(script()));
    expect(ways(plan)).toEqual(['ix_job_deliveries_target']);
    expect(blocks(plan)).toBeLessThan(200);
  });

  it('a list of the hook of a job goes by the job', async () => {
    const of = { hookOfJob: newId() };
    const script = listDeliveries(tables, { of, status: undefined, limit: 50, before: undefined });
    const plan = await planOf(reading, firstOf(script));
    expect(ways(plan)).toEqual(['ix_job_deliveries_order']);
    expect(blocks(plan)).toBeLessThan(40);
  });
});
