/**
 * Sidequest with its MySQL backend, its jobs run in this process, and a poll of 10 ms (its default is
 * 100). It cannot enqueue several at once, so that a bulk is as many calls.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createConnection } from 'mysql2/promise';
import { Engine } from '@sidequest/engine';
import { versionOf } from '../harness/versions.mjs';
import { CONCURRENCY } from './index.mjs';
import { SidequestNoop } from './sidequest-job.mjs';

export async function open({ url, pollMs, producer = false, paused = false, onJob }) {
  SidequestNoop.onJob = onJob;
  const engine = new Engine();
  const config = {
    backend: { driver: '@sidequest/mysql-backend', config: url },
    queues: [{ name: 'default', concurrency: CONCURRENCY }],
    maxConcurrentJobs: CONCURRENCY,
    jobPollingInterval: pollMs,
    fork: false,
    runner: 'inline',
    gracefulShutdown: false,
    logger: { level: 'error' },
  };
  await engine.configure(config);
  const database = await createConnection(url);
  const [[{ version }]] = await database.query('SELECT VERSION() AS version');
  let isStarted = false;
  const turn = (state) => database.query('UPDATE sidequest_queues SET state = ?', [state]);
  const peer = {
    versions: {
      sidequest: versionOf('sidequest'),
      '@sidequest/mysql-backend': versionOf('@sidequest/mysql-backend'),
      server: version,
    },
    enqueue: (params) => engine.build(SidequestNoop).enqueue(params),
    async enqueueMany(list) {
      let next = 0;
      const caller = async () => {
        while (next < list.length) await peer.enqueue(list[next++]);
      };
      await Promise.all(Array.from({ length: CONCURRENCY }, caller));
    },
    async resume() {
      if (producer) return;
      if (!isStarted) await engine.start(config);
      isStarted = true;
      await turn('active');
    },
    pause: () => turn('paused'),
    async unfinished() {
      const [[{ n }]] = await database.query(
        "SELECT COUNT(*) AS n FROM sidequest_jobs WHERE state IN ('waiting', 'claimed', 'running')",
      );
      return Number(n);
    },
    fill() {
      throw new Error('Rows of other kinds are not made here.');
    },
    async close() {
      await Promise.race([engine.close(), sleep(3000)]);
      await database.end();
    },
  };
  if (!producer && !paused) await peer.resume();
  return peer;
}
