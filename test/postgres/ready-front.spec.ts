import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { FrontLook, type Front } from '../../lib/store/dialects/postgres/front-look.js';
import { ReadyFront, type InLine } from '../../lib/store/dialects/postgres/ready-front.js';
import { POSTGRES_WORDS } from '../../lib/store/dialects/postgres/words.js';
import type { TimedScript } from '../../lib/store/dialects/sql.js';
import type { ClaimRequest } from '../../lib/store/store.js';
import type { Lane } from '../../lib/store/typeorm/claim.script.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';
import { deferred, type Deferred } from '../support/gate.js';

const request: ClaimRequest = {
  queue: 'default',
  types: ['t'],
  channels: [''],
  limit: 10,
  workerId: 'worker',
  leaseMs: 1000,
  starts: false,
  onlyIfReady: false,
};
const lanes: readonly Lane[] = [['t', '']];
/** The database's time when everything here happens. */
const NOW = 1_000_000;
const job = (runAtMs: number, priority = 0): InLine => ({
  type: 't',
  channel: '',
  priority,
  runAtMs,
});
const at = (fromMs: number, priority = 0) => ({ type: 't', channel: '', priority, fromMs });

/** A front whose looks are answered by the test, in any order it likes, a moment after each other. */
function fronted() {
  vi.useFakeTimers();
  onTestFinished(() => void vi.useRealTimers());
  const looks: Deferred<Front>[] = [];
  const found = vi.fn();
  const front = new ReadyFront({
    look: new FrontLook(tableNames(undefined, undefined, POSTGRES_WORDS)),
    found,
    read<T>(script: TimedScript<T>): Promise<T> {
      script(NOW);
      const answer = deferred<Front>();
      looks.push(answer);
      return answer.promise as Promise<T>;
    },
  });
  onTestFinished(() => front.close());
  const ranges = () => front.rangesOf(request, lanes);
  const claim = (jobs: readonly InLine[], nowMs = NOW): void => {
    ranges();
    front.taken(request, lanes, jobs, nowMs);
  };
  const nextLook = async (): Promise<Deferred<Front>> => {
    const n = looks.length;
    await vi.advanceTimersByTimeAsync(5000);
    expect(looks.length).toBe(n + 1);
    return looks[n] as Deferred<Front>;
  };
  const looked = async (first: readonly InLine[], tookMs: number): Promise<void> => {
    (await nextLook()).resolve({ first, isWhole: true, tookMs });
    await vi.advanceTimersByTimeAsync(1);
  };
  return { front, ranges, claim, looks, looked, nextLook, found };
}

/** One whose claims begin where the last one ended. */
async function bounded() {
  const it = fronted();
  it.claim([job(NOW - 2000)]);
  await it.looked([], 50);
  expect(it.ranges()).toEqual([at(NOW - 500)]);
  return it;
}

describe('claims begin at the first entry', () => {
  it('as long as that is quick', async () => {
    const { claim, looked, ranges, front } = fronted();
    claim([job(NOW)]);
    await looked([], 1);
    expect(ranges()).toBeUndefined();
    expect(front.isBounded).toBe(false);
  });

  it('again once it is', async () => {
    const { claim, looked, ranges } = await bounded();
    claim([]);
    await looked([], 0);
    expect(ranges()).toBeUndefined();
  });

  it('when a look fails', async () => {
    const { claim, nextLook, ranges } = await bounded();
    claim([]);
    (await nextLook()).reject(new Error('The connection is gone.'));
    await vi.advanceTimersByTimeAsync(1);
    expect(ranges()).toBeUndefined();
  });

  it('when there are more priorities than a look goes through', async () => {
    const { claim, nextLook, ranges } = await bounded();
    claim([]);
    (await nextLook()).resolve({ first: [job(NOW)], isWhole: false, tookMs: 50 });
    await vi.advanceTimersByTimeAsync(1);
    expect(ranges()).toBeUndefined();
  });

  it('of a worker of all channels', async () => {
    const { front, looks } = fronted();
    front.taken({ ...request, channels: '*' }, lanes, [job(NOW)], NOW);
    await vi.advanceTimersByTimeAsync(5000);
    expect(looks).toEqual([]);
  });
});

describe('where that takes long', () => {
  it('each priority begins at the last job taken of it, or half a second ago', async () => {
    const { claim, ranges } = await bounded();
    claim([job(NOW - 9, 3), job(NOW - 5, 3), job(NOW + 700), job(NOW + 800)], NOW + 1000);
    expect(ranges()).toEqual([at(NOW + 500), at(NOW - 5, 3)]);
  });

  it('what this process stores with another priority, or ahead, is in the next claim', async () => {
    const { front, ranges } = await bounded();
    front.stored(job(NOW - 9000, 7), NOW);
    front.stored(job(NOW - 7000), NOW);
    front.stored(job(NOW - 100), NOW);
    expect(ranges()).toEqual([at(NOW - 7000), at(NOW - 9000, 7)]);
  });

  it('the same while a claim is under way that does not see it', async () => {
    const { front, ranges } = await bounded();
    ranges();
    front.stored(job(NOW - 7000), NOW);
    front.taken(request, lanes, [job(NOW)], NOW + 1000);
    vi.advanceTimersByTime(1);
    expect(ranges()).toEqual([at(NOW - 7000)]);
    front.taken(request, lanes, [job(NOW - 7000), job(NOW)], NOW + 1000);
    expect(ranges()).toEqual([at(NOW)]);
  });

  it('the same while a look is under way', async () => {
    const { front, claim, nextLook, ranges } = await bounded();
    claim([job(NOW)], NOW + 100);
    const look = await nextLook();
    front.stored(job(NOW - 7000), NOW);
    look.resolve({ first: [], isWhole: true, tookMs: 50 });
    await vi.advanceTimersByTimeAsync(1);
    expect(ranges()).toEqual([at(NOW - 7000)]);
  });

  it('what others put ahead is found by a look, and claimed', async () => {
    const { claim, looked, ranges, found } = await bounded();
    claim([]);
    await looked([job(NOW - 6000), job(NOW - 3000, 9)], 50);
    expect(found).toHaveBeenCalledOnce();
    expect(ranges()).toEqual([at(NOW - 6000), at(NOW - 3000, 9)]);
  });

  it('what stays where it is, as in a paused queue, is told of once', async () => {
    const { claim, looked, found } = await bounded();
    for (let n = 0; n < 3; n += 1) {
      claim([]);
      await looked([job(NOW - 6000)], 50);
    }
    expect(found).toHaveBeenCalledOnce();
  });

  it('a look follows every claim, also one that ends while another look is under way', async () => {
    const { claim, nextLook, looked } = await bounded();
    claim([]);
    const look = await nextLook();
    claim([]);
    look.resolve({ first: [], isWhole: true, tookMs: 50 });
    await looked([], 50);
  });

  it('a priority of which there was nothing for a while is forgotten', async () => {
    const { claim, looked, ranges } = await bounded();
    claim([job(NOW, 4)]);
    await looked([], 50);
    expect(ranges()).toContainEqual(at(NOW - 500, 4));
    for (let n = 0; n < 3; n += 1) {
      claim([]);
      await looked([], 50);
    }
    expect(ranges()).toEqual([at(NOW - 500)]);
  });
});
