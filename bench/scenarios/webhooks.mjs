/** What webhooks do: jobs are enqueued and run at once, and each of their three events is told to one receiver. */

const EVENTS = 3;
const WARM_UP = 1_000;
/** So that deliveries begin while jobs still come. */
const CHUNK = 100;

export const S10 = {
  id: 'S10',
  title: 'Tell a receiver on the loopback of three events of each of 5,000 no-op jobs',
  metrics: {
    rate: { label: 'deliveries/s', better: 'higher', digits: 0 },
    cpuUs: { label: 'CPU µs/delivery, the job in it', better: 'lower', digits: 0 },
    serverUs: { label: 'of it the server', better: 'lower', digits: 0 },
  },
  size: { full: 5_000, quick: 2_000 },
  mostRounds: 5,
  defaultPeers: {
    file: ['nestjs-jobs'],
    postgres: ['nestjs-jobs-postgres'],
    mariadb: ['nestjs-jobs-mariadb'],
  },
  async run({ start, dir, database, size }, adapter) {
    const receiver = await start('receiver');
    const hook = await receiver.call('url');
    const worker = await start(adapter, { dir, hook });
    const producer = await start(adapter, { dir, hook, producer: true });
    await producer.call('enqueueInChunks', { count: WARM_UP, chunk: CHUNK });
    await receiver.call('received', { count: WARM_UP * EVENTS }, 60_000);
    const serverBefore = database?.cpuUs() ?? 0;
    await worker.call('work');
    const begun = performance.now();
    await producer.call('enqueueInChunks', { count: size, chunk: CHUNK });
    await receiver.call('received', { count: (WARM_UP + size) * EVENTS }, 300_000);
    const ms = performance.now() - begun;
    const { cpuUs } = await worker.call('worked');
    const serverUs = (database?.cpuUs() ?? 0) - serverBefore;
    const deliveries = size * EVENTS;
    return {
      rate: (deliveries / ms) * 1000,
      cpuUs: (cpuUs + serverUs) / deliveries,
      ...(serverUs > 0 ? { serverUs: serverUs / deliveries } : {}),
    };
  },
};
