import { floodAndWork, perSecond, warm } from './mixed.mjs';

const SLICES = 9;

/**
 * A report that somebody runs, or a session that was forgotten: while a snapshot is kept, no version of
 * a row that was there when it was taken, or came after it, can be cleared away, and every index keeps
 * its entry.
 */
export const SNAPSHOT = {
  id: 'snapshot',
  title:
    'Enqueue with 10 callers and work at once, two processes, while a session keeps a snapshot',
  metrics: {
    before: { label: 'out/s before it', better: 'higher', digits: 0 },
    under: { label: 'out/s under it', better: 'higher', digits: 0 },
    last: { label: 'out/s in its last ninth', better: 'higher', digits: 0 },
    kept: { label: 'out / in under it', better: 'higher', digits: 2 },
    after: { label: 'out/s after it', better: 'higher', digits: 0 },
  },
  within: [
    { of: 'under', to: 'before', label: 'rate under the snapshot / before it' },
    { of: 'last', to: 'before', label: 'rate in its last ninth / before it' },
  ],
  size: { full: 180_000, quick: 20_000 },
  mostRounds: 3,
  modes: ['postgres'],
  defaultPeers: { postgres: ['nestjs-jobs-postgres', 'graphile-tuned'] },
  async run({ start, dir, database, size }, adapter) {
    const worker = await start(adapter, { dir, paused: true, abandoned: true });
    const producer = await start(adapter, { dir, producer: true, abandoned: true });
    await warm(worker, producer, adapter);
    const ms = size / SLICES;
    const slice = () => floodAndWork(worker, producer, ms);
    // The first one still warms up what enqueues one at a time.
    await slice();
    const before = await slice();
    const end = await database.pinned();
    const under = [];
    for (let n = 0; n < SLICES; n += 1) under.push(await slice());
    await end();
    const after = await slice();
    const sum = (key) => under.reduce((total, each) => total + each[key], 0);
    return {
      before: perSecond(before.worked, ms),
      under: perSecond(sum('worked'), size),
      last: perSecond(under.at(-1).worked, ms),
      kept: sum('worked') / sum('sent'),
      after: perSecond(after.worked, ms),
    };
  },
};
