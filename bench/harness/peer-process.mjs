/** The child process: opens one adapter and runs the measured loops where the work is done. */
import { setTimeout as sleep } from 'node:timers/promises';
import { ADAPTERS } from '../adapters/index.mjs';

let peer;
let onJob = () => {};

/** Nanoseconds of a clock that all processes of one machine share. */
const sharedNow = () => Number(process.hrtime.bigint());

/** 160 bytes of JSON; `sentAt` keeps its width so that every job weighs the same. */
function payload(n, sentAt = 0) {
  return {
    n: String(n).padStart(8, '0'),
    sentAt: String(sentAt).padStart(20, '0'),
    to: 'somebody@example.com',
    text: 'the quick brown fox jumps over the lazy dog, again and again and again, so',
  };
}

function startMeasure() {
  globalThis.gc?.();
  const cpu = process.cpuUsage();
  const at = performance.now();
  return () => {
    const ms = performance.now() - at;
    const used = process.cpuUsage(cpu);
    return { ms, cpuUs: used.user + used.system };
  };
}

/** `callers` loops share `count` jobs; each awaits one enqueue before the next. */
async function enqueueEach(count, callers) {
  let next = 0;
  const caller = async () => {
    while (next < count) await peer.enqueue(payload(next++));
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

async function enqueueInChunks(count, chunk) {
  for (let from = 0; from < count; from += chunk) {
    const size = Math.min(chunk, count - from);
    await peer.enqueueMany(Array.from({ length: size }, (_, index) => payload(from + index)));
  }
}

/** The noisy tenant's jobs first, then those of the others in turn. */
async function enqueueOfTenants(count, tenants, noisy, chunk) {
  for (let from = 0; from < count; from += chunk) {
    const size = Math.min(chunk, count - from);
    const items = Array.from({ length: size }, (_, index) => {
      const n = from + index;
      return [payload(n), `tenant-${n < noisy ? 0 : 1 + (n % (tenants - 1))}`];
    });
    await peer.enqueueFor(items);
  }
}

/** Resolves once `count` handlers were called and nothing unfinished is stored. */
async function drain(count) {
  const called = await drainSome(count);
  while ((await peer.unfinished()) > 0) await sleep(1);
  return called;
}

/** Resolves once `count` handlers were called, of more that are in line. */
async function drainSome(count) {
  let called = 0;
  let allCalled;
  const reached = new Promise((resolve) => (allCalled = resolve));
  onJob = () => {
    called += 1;
    if (called === count) allCalled();
  };
  peer.resume();
  await reached;
  return called;
}

/** Counts handlers until the deadline, which a busy worker must notice by itself. */
function countUntil(deadline) {
  let count = 0;
  let over = false;
  const done = startMeasure();
  return new Promise((resolve) => {
    const finish = () => {
      if (over) return;
      over = true;
      resolve({ count, ...done() });
    };
    onJob = () => {
      if (over) return;
      if (performance.now() >= deadline) finish();
      else count += 1;
    };
    setTimeout(finish, deadline - performance.now() + 2);
  });
}

async function flood(deadline, callers) {
  let count = 0;
  const done = startMeasure();
  const caller = async () => {
    while (performance.now() < deadline) {
      await peer.enqueue(payload(count));
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return { count, ...done() };
}

/** Irregular pauses of 5–45 ms, the same for every peer, so that no poll interval is favoured. */
function* pauses() {
  let seed = 12_345;
  for (;;) {
    seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648;
    yield 5 + (seed / 2_147_483_648) * 40;
  }
}

let share;

const latencies = [];
function collectLatencies() {
  latencies.length = 0;
  onJob = (params) => latencies.push((sharedNow() - Number(params().sentAt)) / 1e6);
}

async function untilCollected(count) {
  const deadline = performance.now() + 10_000;
  while (latencies.length < count) {
    if (performance.now() > deadline) throw new Error(`${latencies.length} of ${count} picked up`);
    await sleep(5);
  }
  return [...latencies];
}

async function sendIrregularly(count) {
  const pause = pauses();
  for (let n = 0; n < count; n += 1) {
    await sleep(pause.next().value);
    await peer.enqueue(payload(n, sharedNow()));
  }
}

function memory() {
  const { rss, heapUsed, external } = process.memoryUsage();
  return { rss, heapUsed, external };
}

const COMMANDS = {
  async open({ adapter, ...settings }) {
    const { load, ...fixed } = ADAPTERS[adapter];
    const { open } = await load();
    peer = await open({ ...fixed.settings, ...settings, onJob: (params) => onJob(params) });
    return peer.versions;
  },
  async enqueueEach({ count, callers }) {
    const done = startMeasure();
    await enqueueEach(count, callers);
    return done();
  },
  async enqueueInChunks({ count, chunk = 1000 }) {
    const done = startMeasure();
    await enqueueInChunks(count, chunk);
    return done();
  },
  /** Jobs that each wait for so many of a line of others, which are stored before and not measured; so many share theirs. */
  async enqueueBehind({ count, callers, parents, sharing }) {
    const ids = await peer.enqueueLater(parents * Math.ceil(count / sharing));
    let next = 0;
    const caller = async () => {
      while (next < count) {
        const n = next++;
        const at = Math.floor(n / sharing) * parents;
        await peer.enqueueBehind(payload(n), ids.slice(at, at + parents));
      }
    };
    const done = startMeasure();
    await Promise.all(Array.from({ length: callers }, caller));
    return done();
  },
  schedule: ({ count, dueAt }) => peer.schedule(count, dueAt),
  /** Resolves when jobs of all schedules are stored, with how long after they were due that is. */
  async tick({ count, dueAt }) {
    await sleep(Math.max(0, dueAt - Date.now() - 20));
    const done = startMeasure();
    while ((await peer.fired()) < count) await sleep(10);
    return { ...done(), lateMs: Date.now() - dueAt };
  },
  async enqueueOfTenants({ count, tenants, noisy, chunk = 1000 }) {
    await enqueueOfTenants(count, tenants, noisy, chunk);
  },
  async drain({ count }) {
    const done = startMeasure();
    await drain(count);
    const measured = done();
    await peer.pause();
    return measured;
  },
  async drainSome({ count }) {
    const done = startMeasure();
    await drainSome(count);
    const measured = done();
    await peer.pause();
    return measured;
  },
  /** A share of a backlog that several processes work off; the controller adds up. */
  async work() {
    let count = 0;
    const done = startMeasure();
    share = { count: () => count, done };
    onJob = () => void (count += 1);
    await peer.resume();
  },
  counted: () => share.count(),
  async worked() {
    while ((await peer.unfinished()) > 0) await sleep(1);
    const measured = share.done();
    await peer.pause();
    return measured;
  },
  /** The two halves of a mixed run; `startsAt` is on the shared clock. */
  async countFor({ startsAt, ms }) {
    peer.resume();
    await sleep(Math.max(0, (startsAt - sharedNow()) / 1e6));
    return countUntil(performance.now() + ms);
  },
  async floodFor({ startsAt, ms, callers }) {
    await sleep(Math.max(0, (startsAt - sharedNow()) / 1e6));
    return flood(performance.now() + ms, callers);
  },
  async mixedFor({ ms, callers }) {
    const cpu = process.cpuUsage();
    const deadline = performance.now() + ms;
    const counting = countUntil(deadline);
    peer.resume();
    const sent = await flood(deadline, callers);
    const worked = await counting;
    void peer.pause();
    const used = process.cpuUsage(cpu);
    return { in: sent.count, out: worked.count, ms, cpuUs: used.user + used.system };
  },
  sharedNow,
  collect() {
    collectLatencies();
    peer.resume();
  },
  collected: ({ count }) => untilCollected(count),
  async sendIrregularly({ count }) {
    await sendIrregularly(count);
  },
  url: () => peer.url,
  received: ({ count }) => peer.received(count),
  fill: ({ kind, rows }) => peer.fill(kind, rows),
  async idle({ ms }) {
    peer.resume?.();
    await sleep(2000);
    const done = startMeasure();
    await sleep(ms);
    return done();
  },
  async memory({ collect = false }) {
    await sleep(500);
    const before = memory();
    if (!collect) return before;
    globalThis.gc();
    return { ...before, afterCollect: memory() };
  },
  async close() {
    await peer?.close();
  },
};

async function answer({ id, command, args }) {
  try {
    process.send({ id, value: await COMMANDS[command](args) });
  } catch (error) {
    process.send({ id, error: error?.stack ?? String(error) });
  }
  // Not process.exit at once: the answer and a CPU profile must be written first.
  if (command === 'close') process.disconnect();
}

process.on('message', (message) => void answer(message));
process.on('disconnect', () => setTimeout(() => process.exit(), 200).unref());
