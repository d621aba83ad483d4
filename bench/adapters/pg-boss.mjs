/**
 * pg-boss with LISTEN and NOTIFY, one fetcher of as many jobs as handlers, which goes on at once
 * after a full one, and the shortest poll that it allows.
 */
import { PgBoss } from 'pg-boss';
import pg from 'pg';
import { versionOf } from '../harness/versions.mjs';
import { CONCURRENCY } from './index.mjs';

const QUEUE = 'noop';
const WORK = {
  batchSize: CONCURRENCY,
  burstWhenBatchFull: true,
  pollingIntervalSeconds: 0.5,
  notifyPollingIntervalSeconds: 0.5,
};

export async function open({ url, notify = true, producer = false, paused = false, onJob }) {
  const boss = new PgBoss({ connectionString: url, useListenNotify: notify && !producer });
  boss.on('error', () => {});
  boss.on('warning', () => {});
  await boss.start();
  for (const name of [QUEUE, 'other']) await boss.createQueue(name, { notify });
  const pool = new pg.Pool({ connectionString: url, max: 2 });
  let worker;
  const peer = {
    versions: { 'pg-boss': versionOf('pg-boss') },
    enqueue: (params) => boss.send(QUEUE, params),
    enqueueMany: (list) =>
      boss.insert(
        QUEUE,
        list.map((data) => ({ data })),
      ),
    async resume() {
      if (producer) return;
      worker ??= await boss.work(QUEUE, WORK, async (jobs) => {
        for (const job of jobs) onJob(() => job.data);
      });
    },
    async pause() {
      const id = worker;
      worker = undefined;
      if (id !== undefined) await boss.offWork(QUEUE, { id, wait: true });
    },
    async unfinished() {
      const { rows } = await pool.query(
        `SELECT count(*) AS n FROM pgboss.job WHERE name = '${QUEUE}' AND state < 'completed' AND start_after <= now() + interval '1 hour'`,
      );
      return Number(rows[0].n);
    },
    async fill(kind, rows) {
      const name = kind === 'other' ? 'other' : QUEUE;
      const state = kind === 'finished' ? "'completed'" : "'created'";
      const at = kind === 'delayed' ? "now() + interval '1 day' + i * interval '1 ms'" : 'now()';
      await pool.query(
        `INSERT INTO pgboss.job (name, data, state, start_after, completed_on)
         SELECT '${name}', '{"text":"${'x'.repeat(149)}"}', ${state}, ${at}, ${kind === 'finished' ? 'now()' : 'NULL'} FROM generate_series(1, ${rows}) AS i`,
      );
      await pool.query('ANALYZE');
    },
    async close() {
      await boss.stop({ graceful: true, timeout: 10_000 });
      await pool.end();
    },
  };
  if (!producer && !paused) await peer.resume();
  return peer;
}
