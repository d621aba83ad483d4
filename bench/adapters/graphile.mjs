/**
 * graphile-worker as it comes (prepared statements, a pool of 12), or `tuned`: it takes 500 jobs at
 * once into a local queue and joins what it completes. A job that has ended is deleted.
 */
import { Logger, makeWorkerUtils, run, runMigrations } from 'graphile-worker';
import pg from 'pg';
import { versionOf } from '../harness/versions.mjs';
import { CONCURRENCY } from './index.mjs';

const TUNED = { localQueue: { size: 500 }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
const TASK = 'noop';

export async function open({ url, tuned = false, producer = false, paused = false, onJob }) {
  const pgPool = new pg.Pool({ connectionString: url, max: 12 });
  pgPool.on('error', () => {});
  const logger = new Logger(() => () => {});
  await runMigrations({ pgPool, logger });
  const utils = await makeWorkerUtils({ pgPool, logger });
  const preset = { worker: { concurrentJobs: CONCURRENCY, ...(tuned ? TUNED : {}) } };
  const taskList = { [TASK]: async (payload) => onJob(() => payload) };
  let runner;
  const peer = {
    versions: { 'graphile-worker': versionOf('graphile-worker'), pg: versionOf('pg') },
    enqueue: (params) => utils.addJob(TASK, params),
    enqueueMany: (list) => utils.addJobs(list.map((payload) => ({ identifier: TASK, payload }))),
    async resume() {
      if (producer) return;
      runner ??= await run({ pgPool, preset, logger, taskList, noHandleSignals: true });
    },
    async pause() {
      const running = runner;
      runner = undefined;
      await running?.stop();
    },
    async unfinished() {
      const { rows } = await pgPool.query(
        `SELECT count(*) AS n FROM graphile_worker._private_jobs AS job
         JOIN graphile_worker._private_tasks AS task ON task.id = job.task_id
         WHERE task.identifier = '${TASK}' AND run_at <= now() + interval '1 hour'`,
      );
      return Number(rows[0].n);
    },
    async fill(kind, rows) {
      if (kind === 'finished') return;
      await utils.addJob(kind === 'other' ? 'other' : TASK, { text: 'x'.repeat(149) });
      const at = kind === 'delayed' ? "now() + interval '1 day' + i * interval '1 ms'" : 'now()';
      await pgPool.query(
        `INSERT INTO graphile_worker._private_jobs (task_id, payload, run_at)
         SELECT task_id, payload, ${at} FROM graphile_worker._private_jobs, generate_series(1, ${rows}) AS i`,
      );
      await pgPool.query(`DELETE FROM graphile_worker._private_jobs WHERE id = 1`);
      await pgPool.query('ANALYZE');
    },
    async close() {
      await peer.pause();
      await utils.release();
      await pgPool.end();
    },
  };
  if (!producer && !paused) await peer.resume();
  return peer;
}
