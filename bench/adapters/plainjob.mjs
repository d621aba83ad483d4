/**
 * plainjob: poll 10 ms (its default is a second) and one worker loop per unit of concurrency,
 * since one loop runs one job at a time. Everything else as it comes.
 */
import { createRequire } from 'node:module';
import path from 'node:path';
import Database from 'better-sqlite3';
import { better, defineQueue, defineWorker } from 'plainjob';
import { CONCURRENCY } from './index.mjs';

const require = createRequire(import.meta.url);
const TYPE = 'noop';
const silent = { error() {}, warn() {}, info() {}, debug() {} };

export function open({ dir, pollMs, onJob }) {
  const database = new Database(path.join(dir, 'jobs.sqlite'));
  const queue = defineQueue({ connection: better(database), logger: silent });
  const unfinished = database
    .prepare(
      'SELECT count(*) FROM plainjob_jobs WHERE status IN (0, 1) AND type = ? AND next_run_at <= ?',
    )
    .pluck();
  let workers = [];
  let running = [];

  return {
    versions: {
      plainjob: require('plainjob/package.json').version,
      'better-sqlite3': require('better-sqlite3/package.json').version,
      sqlite: database.prepare('SELECT sqlite_version()').pluck().get(),
      journal_mode: database.pragma('journal_mode', { simple: true }),
      synchronous: database.pragma('synchronous', { simple: true }),
    },
    enqueue: (params) => queue.add(TYPE, params),
    enqueueMany: (items) => queue.addMany(TYPE, items),
    resume() {
      if (workers.length > 0) return;
      const handler = async (job) => onJob(() => JSON.parse(job.data));
      workers = Array.from({ length: CONCURRENCY }, () =>
        defineWorker(TYPE, handler, { queue, logger: silent, pollIntervall: pollMs }),
      );
      running = workers.map((worker) => worker.start());
    },
    async pause() {
      for (const worker of workers) void worker.stop();
      workers = [];
      await Promise.all(running);
    },
    unfinished: () => unfinished.get(TYPE, Date.now()),
    fill(kind, rows) {
      const day = 86_400_000;
      const now = Date.now();
      const shape = {
        delayed: { type: TYPE, status: 0, at: now + day },
        finished: { type: TYPE, status: 2, at: now - 1000 },
        other: { type: 'other', status: 0, at: now - 1000 },
      }[kind];
      database
        .prepare(
          `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < @rows)
           INSERT INTO plainjob_jobs (type, data, status, created_at, next_run_at)
           SELECT @type, @data, @status, @now, @at + i / 1000 FROM n`,
        )
        .run({ ...shape, now, rows, data: 'x'.repeat(160) });
      database.pragma('wal_checkpoint(TRUNCATE)');
    },
    async close() {
      await this.pause();
      queue.close();
    },
  };
}
