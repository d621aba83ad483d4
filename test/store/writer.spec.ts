import { afterEach, describe, expect, it, vi } from 'vitest';
import { runScript } from '../../lib/store/dialects/sql.js';
import { AnswerLost, type Session } from '../../lib/store/dialects/session.js';
import type { BatchKind } from '../../lib/store/write-batch.js';
import { Writer } from '../../lib/store/writer.js';

/** A connection without a database: scripts run, and nothing is asked of anybody. */
function idleSession(transactions: number[]): Session {
  return {
    read: (script) => Promise.resolve(runScript(script(0), () => [])),
    run: (script) => Promise.resolve(runScript(script, () => [])),
    between: (work) => work(),
    classify: () => 'error',
    release: () => Promise.resolve(),
    transact: (scripts) =>
      scripts.map((script) => {
        const results = runScript(script(0), () => []);
        transactions.push((results as unknown[]).length);
        return results;
      }),
  };
}

/** A connection that somebody else's lock, or worse, keeps from writing until told otherwise. */
function troubledSession(trouble: 'busy' | 'held' | 'unavailable', silentMs = 0) {
  const state = { isTroubled: true, tries: 0 };
  const session: Session = {
    ...idleSession([]),
    classify: () => trouble,
    transact: (scripts) => {
      state.tries += 1;
      if (state.isTroubled && trouble !== 'unavailable' && silentMs === 0) {
        throw new Error('locked');
      }
      if (state.isTroubled) {
        return new Promise((_, reject) => {
          const gone = new Error('gone');
          setTimeout(
            () => reject(trouble === 'unavailable' ? new AnswerLost(gone) : gone),
            silentMs,
          );
        });
      }
      return scripts.map((script) => runScript(script(0), () => []));
    },
  };
  // The longest delay each time.
  return { state, writer: new Writer(session, () => 1) };
}

const kind: BatchKind<string, string> = {
  name: 'echo',
  rank: 1,
  maxItems: 10,
  isRepeatable: true,
  // oxlint-disable-next-line require-yield
  *script(items) {
    return items;
  },
};

describe('a writer that cannot write', () => {
  afterEach(() => vi.useRealTimers());

  it('is idle once all who waited were refused', async () => {
    vi.useFakeTimers();
    const { writer } = troubledSession('busy');
    const refused = expect(writer.add(kind, 'late', 'caller')).rejects.toMatchObject({
      code: 'database_busy',
    });
    const idle = writer.idle();
    await vi.advanceTimersByTimeAsync(5100);
    await refused;
    await idle;
    expect(writer.stuckMs).toBe(0);
    writer.close();
  });

  it('tries for a caller who comes during a delay of its own work', async () => {
    vi.useFakeTimers();
    const { state, writer } = troubledSession('busy');
    const own = writer.add(kind, 'own', 'engine');
    await vi.advanceTimersByTimeAsync(0);
    expect(state.tries).toBe(1);
    state.isTroubled = false;
    const called = writer.add(kind, 'called', 'caller');
    await vi.advanceTimersByTimeAsync(0);
    expect(await Promise.all([own, called])).toEqual(['own', 'called']);
    writer.close();
  });

  it('tries soon for what somebody holds for a moment, and then less and less often', async () => {
    vi.useFakeTimers();
    const { state, writer } = troubledSession('held');
    const own = writer.add(kind, 'own', 'engine');
    await vi.advanceTimersByTimeAsync(100);
    const soon = state.tries;
    expect(soon).toBeGreaterThanOrEqual(4);
    await vi.advanceTimersByTimeAsync(1000);
    expect(state.tries - soon).toBeLessThanOrEqual(10);
    state.isTroubled = false;
    await vi.advanceTimersByTimeAsync(110);
    expect(await own).toBe('own');
    // The next lock is another one.
    state.isTroubled = true;
    const other = writer.add(kind, 'other', 'engine');
    await vi.advanceTimersByTimeAsync(0);
    state.isTroubled = false;
    await vi.advanceTimersByTimeAsync(10);
    expect(await other).toBe('other');
    writer.close();
  });

  it('leaves a connection to others after a try that has waited for a lock by itself', async () => {
    vi.useFakeTimers();
    const { state, writer } = troubledSession('held', 50);
    const own = writer.add(kind, 'own', 'engine');
    await vi.advanceTimersByTimeAsync(0);
    await vi.advanceTimersByTimeAsync(50 + 98);
    expect(state.tries).toBe(1);
    state.isTroubled = false;
    await vi.advanceTimersByTimeAsync(5);
    expect(await own).toBe('own');
    writer.close();
  });

  it('looks for five seconds for what may be stored, however long the answer was awaited', async () => {
    vi.useFakeTimers();
    const { state, writer } = troubledSession('unavailable', 16_000);
    const added = writer.add(kind, 'asked', 'caller');
    await vi.advanceTimersByTimeAsync(16_010);
    state.isTroubled = false;
    await vi.advanceTimersByTimeAsync(16_200);
    expect(await added).toBe('asked');
    writer.close();
  });
});

describe('the writer', () => {
  it('takes rows of one transaction in their order, and those of one row as they came', async () => {
    const order: string[] = [];
    const writer = new Writer(idleSession([]));
    const change = (row: number | undefined, name: string): Promise<void> =>
      writer.write(
        // oxlint-disable-next-line require-yield
        function* () {
          order.push(name);
        },
        'caller',
        row,
      );
    await Promise.all([
      change(3, 'third'),
      change(1, 'first'),
      change(undefined, 'none'),
      change(3, 'third again'),
      change(2, 'second'),
    ]);
    expect(order).toEqual(['none', 'first', 'second', 'third', 'third again']);
    writer.close();
  });

  it('takes any number of writes at once, each in its turn', async () => {
    const transactions: number[] = [];
    const writer = new Writer(idleSession(transactions));
    const kind: BatchKind<number, number> = {
      name: 'double',
      rank: 1,
      maxItems: 500,
      // oxlint-disable-next-line require-yield
      *script(items) {
        return items.map((item) => item * 2);
      },
    };
    const count = 200_000;
    const results = await Promise.all(
      Array.from({ length: count }, (_, at) => writer.add(kind, at, 'caller')),
    );
    expect(results.findIndex((result, at) => result !== at * 2)).toBe(-1);
    expect(Math.max(...transactions)).toBe(500);
    writer.close();
  });
});
