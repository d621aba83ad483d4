import { beforeEach, describe, expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { PostgresClaimScript } from '../../lib/store/dialects/postgres/claim.script.js';
import { Executor } from '../../lib/store/dialects/postgres/connection.js';
import { PostgresJobScripts } from '../../lib/store/dialects/postgres/job.scripts.js';
import { PostgresLimitedClaims } from '../../lib/store/dialects/postgres/limited-claim.script.js';
import type { PgClient } from '../../lib/store/dialects/postgres/pg.js';
import { POSTGRES_WORDS } from '../../lib/store/dialects/postgres/words.js';
import { runScriptAsync, type Script, type Statement } from '../../lib/store/dialects/sql.js';
import type { LimitedRequest } from '../../lib/store/store.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { closeLater } from '../support/cleanup.js';
import { until } from '../support/waiting.js';

const MOST = 2;

@JobType({ name: 'limited', concurrency: { limit: MOST, by: 'tenant' } })
class Limited implements JobHandler {
  execute(): void {}
}

const tables = tableNames(undefined, undefined, POSTGRES_WORDS);
const limited = new PostgresLimitedClaims(
  tables,
  new PostgresJobScripts(tables),
  new PostgresClaimScript(tables),
);

function request(limit: number): LimitedRequest {
  return {
    queue: 'default',
    types: ['default:limited'],
    channels: [''],
    limit,
    workerId: 'worker',
    leaseMs: 60_000,
    starts: true,
    onlyIfReady: false,
    limits: new Map([
      [
        'default:limited',
        {
          ceilings: [{ scope: 'type:default:limited', most: MOST, perMs: undefined, part: 0 }],
          isTenant: [true],
        },
      ],
    ]),
  };
}

let app: BootedJobs;

/** A session of its own. */
async function session(): Promise<Executor> {
  const runner = app.dataSource.createQueryRunner();
  closeLater(() => runner.release(), 'test');
  return new Executor((await runner.connect()) as PgClient, false);
}

async function run<T>(
  { execute }: Executor,
  script: Script<T>,
  change: (statement: Statement) => Statement = (statement) => statement,
): Promise<T> {
  return runScriptAsync(script, (statement) => execute(change(statement)));
}

async function atWork(): Promise<Record<string, number>> {
  const rows = await app.sql<{ tenant_id: string; n: string }>(
    "SELECT tenant_id, count(*) AS n FROM jobs WHERE status = 'running' GROUP BY tenant_id ORDER BY 1",
  );
  return Object.fromEntries(rows.map((row) => [row.tenant_id, Number(row.n)]));
}

describe('a claim within limits that is one statement', () => {
  let one: Executor;
  let other: Executor;

  beforeEach(async () => {
    app = await bootJobs({ types: [Limited], options: { role: 'producer' } });
    await app.jobs.enqueueMany(
      ['a', 'a', 'a', 'a', 'b', 'b', 'b', 'b'].map((tenantId) => ({ type: Limited, tenantId })),
    );
    one = await session();
    other = await session();
    await one.simple('BEGIN');
    await run(one, limited.claim(request(1), Date.now()));
    await one.simple('COMMIT');
    expect(await atWork()).toEqual({ a: 1 });
  });

  it('goes on where the last one ended, and keeps the limit', async () => {
    const first = await run(other, limited.claimAtOnce(request(2), Date.now()));
    expect(first?.jobs.map(({ tenantId }) => tenantId).toSorted()).toEqual(['a', 'b']);
    expect(first?.isMore).toBe(true);
    const second = await run(other, limited.claimAtOnce(request(8), Date.now()));
    expect(second?.jobs.map(({ tenantId }) => tenantId)).toEqual(['b']);
    expect(await run(other, limited.claimAtOnce(request(8), Date.now()))).toBeUndefined();
    expect(await atWork()).toEqual({ a: MOST, b: MOST });
  });

  it('takes nothing while somebody else claims', async () => {
    await one.simple('BEGIN');
    await run(one, limited.claim(request(3), Date.now()));
    expect(await run(other, limited.claimAtOnce(request(2), Date.now()))).toBeUndefined();
    await one.simple('COMMIT');
    expect(await atWork()).toEqual({ a: MOST, b: MOST });
    expect(await run(other, limited.claimAtOnce(request(2), Date.now()))).toBeUndefined();
  });

  it('takes nothing by what it has seen before somebody else claimed', async () => {
    await one.simple('SELECT pg_advisory_lock(7)');
    // It has begun, and waits before it looks for the rows of the limits.
    const late = run(other, limited.claimAtOnce(request(4), Date.now()), ({ sql, params }) => ({
      sql: sql.replace('?::text AS type', '(SELECT ?::text FROM pg_advisory_lock(7)) AS type'),
      params,
    }));
    await until(async () => {
      const waiting = await app.sql(
        "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
      );
      return waiting.length > 0;
    }, 'the claim waits');
    await one.simple('BEGIN');
    await run(one, limited.claim(request(3), Date.now()));
    await one.simple('COMMIT');
    expect(await atWork()).toEqual({ a: MOST, b: MOST });
    await one.simple('SELECT pg_advisory_unlock(7)');
    expect(await late).toBeUndefined();
    expect(await atWork()).toEqual({ a: MOST, b: MOST });
  });
});
