/** BullMQ as it comes, which keeps what it has completed; one worker of as many jobs at once as ours. */
import { Queue, Worker } from 'bullmq';
import { Redis } from 'ioredis';
import { versionOf } from '../harness/versions.mjs';
import { CONCURRENCY } from './index.mjs';

const QUEUE = 'noop';

export async function open({ url, producer = false, paused = false, onJob }) {
  const { hostname: host, port } = new URL(url);
  const connection = { host, port: Number(port), maxRetriesPerRequest: null };
  const queue = new Queue(QUEUE, { connection });
  queue.on('error', () => {});
  await queue.waitUntilReady();
  const worker = producer
    ? undefined
    : new Worker(QUEUE, async (job) => onJob(() => job.data), {
        connection,
        concurrency: CONCURRENCY,
        autorun: false,
      });
  worker?.on('error', () => {});
  await worker?.waitUntilReady();
  let isRunning = false;
  const peer = {
    versions: {
      bullmq: versionOf('bullmq'),
      ioredis: versionOf('ioredis'),
      redis: await serverVersion(host, Number(port)),
    },
    enqueue: (params) => queue.add(QUEUE, params),
    enqueueMany: (list) => queue.addBulk(list.map((data) => ({ name: QUEUE, data }))),
    resume() {
      if (isRunning) void worker?.resume();
      else void worker?.run();
      isRunning = true;
    },
    pause: () => worker?.pause(),
    async unfinished() {
      const counts = await queue.getJobCounts('waiting', 'active');
      return counts.waiting + counts.active;
    },
    fill() {
      throw new Error('Rows of other kinds are not made in Redis.');
    },
    async close() {
      await worker?.close(true);
      await queue.close();
    },
  };
  if (!producer && !paused) peer.resume();
  return peer;
}

async function serverVersion(host, port) {
  const client = new Redis({ host, port });
  const text = await client.info('server');
  client.disconnect();
  return /redis_version:(\S+)/.exec(text)?.[1];
}
