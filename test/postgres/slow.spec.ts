import { expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { ask } from '../support/postgres.js';
import { refusal } from '../support/refusals.js';
import { readSlowLogs } from '../support/slow-logs.js';
import { startPooler } from './support/pooler.js';
import { startProxy } from './support/proxy.js';
import { createDatabase } from '../support/databases.js';
import { waitForStatus, within } from '../support/waiting.js';

const OURS = `application_name = 'nestjs-jobs' AND datname = current_database()`;

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): void {}
}

const gate = handlerGate();

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

it('a read that takes too long is ended by the server, and holds up neither jobs nor other sessions', async () => {
  await readSlowLogs({
    aMinute: 'pg_sleep(60) IS NOT NULL',
    sessions: async (app) => {
      const rows = await app.sql<{ pid: number }>(
        `SELECT pid FROM pg_stat_activity WHERE ${OURS} ORDER BY pid`,
      );
      return rows.map(({ pid }) => pid);
    },
    cancel: (app, session) => app.sql(`SELECT pg_cancel_backend(${session})`),
  });
}, 40_000);

it('a read behind somebody who has locked the whole table is refused after some seconds', async () => {
  const app = await bootJobs({ types: [Plain] });
  const { id } = await app.run(Plain);
  const runner = app.dataSource.createQueryRunner();
  await runner.startTransaction();
  await runner.query('LOCK TABLE job_runs IN ACCESS EXCLUSIVE MODE');
  const error = await refusal(app.jobs.runs(id));
  await runner.rollbackTransaction();
  await runner.release();
  expect(error).toMatchObject({ code: 'database_busy' });
  expect(error.message).toMatch(/locked by another connection/);
  expect(await app.jobs.runs(id)).toHaveLength(1);
}, 40_000);

it('reads through a pooler have their limits too, and leave none behind', async () => {
  const database = createDatabase();
  const { database: name } = database.options() as { database: string };
  const pooler = await startPooler(name, 3);
  const app = await bootJobs({ types: [Plain], database, typeorm: pooler.options });
  const { id } = await app.run(Plain);
  await app.sql('ALTER TABLE job_runs RENAME TO kept_runs');
  // A column that tells what the session that reads it has set.
  await app.sql(
    `INSERT INTO kept_runs (run_id, job_id, revision, updated_at_ms, outcome) VALUES ('r', '${id}', 0, 0, 'failed')`,
  );
  await app.sql(
    `CREATE VIEW job_runs AS SELECT run_id, job_id, revision, worker_id, started_at_ms, updated_at_ms, ended_at_ms, outcome,
       current_setting('statement_timeout') AS error, completed, total FROM kept_runs`,
  );
  expect((await app.jobs.runs(id))[0]?.error).toBe('10s');
  expect(await app.sql(`SELECT current_setting('statement_timeout') AS now`)).toEqual([
    { now: '0' },
  ]);
});

it('notifications that are lost, though the session that listens is well, make others late by seconds at most', async () => {
  const database = createDatabase();
  const { database: name } = database.options() as { database: string };
  // The server takes this function for its own.
  const notify = (does: string): unknown =>
    ask(
      `CREATE OR REPLACE FUNCTION pg_notify(text, text) RETURNS void LANGUAGE sql AS '${does}'`,
      name,
    );
  ask('CREATE TABLE untold (payload text)', name);
  notify('INSERT INTO untold VALUES ($2)');
  const typeorm = { extra: { options: '-c search_path=public,pg_catalog' } };
  // Renewals hear of a cancel too, and come later than the look that this is about.
  const lease = { duration: '60s', sweep: '10s' };
  const worker = await bootJobs({ types: [Held], database, typeorm, options: { lease } });
  const options = { role: 'producer', lease };
  const producer = await bootJobs({ types: [Held], database, typeorm, options });

  const { id } = await producer.jobs.enqueue(Held);
  await gate.entry(id);
  await producer.jobs.cancel(id);
  await waitForStatus(worker.jobs, id, 'canceled');
  // By now the worker has done all that it does at its start, and looks for jobs only by itself.
  await gate.entry((await producer.jobs.enqueue(Held)).id);
  expect((await worker.sql('SELECT 1 FROM untold')).length).toBeGreaterThan(1);

  // The same sessions, once nothing is lost any more.
  notify('SELECT pg_catalog.pg_notify($1, $2)');
  const took: number[] = [];
  for (let n = 0; n < 5; n += 1) {
    const asked = performance.now();
    await gate.entry((await producer.jobs.enqueue(Held)).id);
    took.push(performance.now() - asked);
    gate.open();
  }
  expect(Math.min(...took)).toBeLessThan(1000);
}, 40_000);

it('a server that takes the login and answers nothing is given up, also before it was seen for the first time', async () => {
  const proxy = await startProxy();
  let give: () => void = () => undefined;
  const kept = new Promise<void>((resolve) => {
    give = resolve;
  });
  void proxy.holdUp('pg_backend_pid', () => kept);
  const options = { role: 'producer' };
  const app = await bootJobs({ types: [Plain], options, typeorm: proxy.options });
  const error = await within(refusal(app.jobs.enqueue(Plain)), 'a refusal', 20_000);
  expect(error).toMatchObject({ code: 'database_unavailable' });
  expect((await app.jobs.enqueue(Plain)).status).toBe('waiting');
  give();
}, 40_000);
