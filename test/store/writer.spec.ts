import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { runScript } from '../../lib/store/dialects/sql.js';
import { AnswerLost, ScriptFailure, type Session } from '../../lib/store/dialects/session.js';
import { Held, type BatchKind } from '../../lib/store/write-batch.js';
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

describe('work that met a lock', () => {
  /** Rows that somebody has locked: work that waits for one does so for 20 ms, and in vain. */
  function lockedRows() {
    const locked = new Set<number>();
    const done: string[] = [];
    /** How many tries the server is away for, and how it says so. */
    const away = { tries: 0, as: 'unavailable' as 'unavailable' | 'busy' };
    const gone = new Error('gone');
    const session: Session = {
      ...idleSession([]),
      classify: (error) => (error === gone ? away.as : 'held'),
      async transact(scripts) {
        const results: unknown[] = [];
        if (away.tries > 0) {
          away.tries -= 1;
          throw gone;
        }
        for (const [index, script] of scripts.entries()) {
          try {
            results.push(runScript(script(0), () => []));
          } catch (error) {
            await new Promise((resolve) => setTimeout(resolve, 20));
            throw new ScriptFailure(index, error);
          }
        }
        return results;
      },
    };
    const rowed: BatchKind<{ readonly row: number; readonly name: string }, string> = {
      name: 'rowed',
      rank: 1,
      maxItems: 10,
      orderOf: ({ row }) => row,
      // oxlint-disable-next-line require-yield
      *script(items) {
        if (items.some(({ row }) => locked.has(row))) {
          throw new Error('locked');
        }
        done.push(...items.map(({ name }) => name));
        return items.map(({ name }) => name);
      },
    };
    /** Needs rows of others, and never waits for them. */
    const needing: BatchKind<readonly number[], string | Held> = {
      name: 'needing',
      rank: 2,
      maxItems: 10,
      needs: (rows) => rows,
      // oxlint-disable-next-line require-yield
      *script(items) {
        return items.map((rows) => {
          const row = rows.find((each) => locked.has(each));
          if (row === undefined) {
            done.push(`needing ${rows.join()}`);
          }
          return row === undefined ? 'stored' : new Held(row);
        });
      },
    };
    return { locked, done, away, writer: new Writer(session), rowed, needing };
  }

  it('is tried alone, so that others wait for one of them at most', async () => {
    const { locked, writer, rowed } = lockedRows();
    const rows = Array.from({ length: 20 }, (_, row) => row);
    rows.forEach((row) => locked.add(row));
    const waiting = rows.map((row) => writer.add(rowed, { row, name: `${row}` }, 'engine'));
    // All of them have been tried, for 20 ms each.
    await writer.add(rowed, { row: 99, name: 'first' }, 'caller');
    const took: number[] = [];
    for (let nth = 0; nth < 20; nth += 1) {
      const begun = performance.now();
      await writer.add(rowed, { row: 100 + nth, name: 'other' }, 'caller');
      took.push(performance.now() - begun);
    }
    expect(Math.max(...took)).toBeLessThan(200);
    locked.clear();
    expect(await Promise.all(waiting)).toHaveLength(20);
    await writer.idle();
    writer.close();
  });

  it('is done in the order in which it came, row by row', async () => {
    const { locked, done, writer, rowed } = lockedRows();
    const add = (row: number, name: string) => writer.add(rowed, { row, name }, 'engine');
    locked.add(1).add(2);
    const waiting = [add(1, 'a'), add(2, 'b'), add(1, 'c'), add(3, 'free')];
    await waiting[3];
    waiting.push(add(1, 'd'));
    await add(4, 'later');
    waiting.push(add(2, 'e'), add(1, 'f'));
    locked.delete(2);
    await waiting[1];
    waiting.push(add(1, 'g'));
    await add(5, 'last');
    locked.clear();
    await Promise.all(waiting);
    const of = (names: string) => done.filter((name) => names.includes(name)).join('');
    expect(of('acdfg')).toBe('acdfg');
    expect(of('be')).toBe('be');
    writer.close();
  });

  it.each(['unavailable', 'busy'] as const)(
    'keeps its order where the server is %s while it is tried again',
    async (as) => {
      const { locked, done, away, writer, rowed } = lockedRows();
      const add = (name: string) => writer.add(rowed, { row: 1, name }, 'engine');
      locked.add(1);
      const waiting = [add('a')];
      await writer.add(rowed, { row: 2, name: 'free' }, 'engine');
      waiting.push(add('b'), add('c'));
      await writer.add(rowed, { row: 3, name: 'later' }, 'engine');
      Object.assign(away, { tries: 2, as });
      await vi.waitFor(() => expect(away.tries).toBe(0), { timeout: 5000 });
      locked.clear();
      await Promise.all(waiting);
      expect(done).toEqual(['free', 'later', 'a', 'b', 'c']);
      await writer.idle();
      writer.close();
    },
  );

  it('goes on when a caller beside it was refused in the middle of a round', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const { locked, writer, needing } = lockedRows();
    const other = { ...needing, name: 'other' };
    locked.add(1);
    const refused = [writer.add(needing, [1], 'caller')];
    await vi.advanceTimersByTimeAsync(1000);
    refused.push(writer.add(other, [1], 'caller'));
    const all = Promise.allSettled(refused);
    await vi.advanceTimersByTimeAsync(1000);
    const waiting = writer.add(needing, [1], 'caller');
    await vi.advanceTimersByTimeAsync(4500);
    expect((await all).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    locked.clear();
    await vi.advanceTimersByTimeAsync(200);
    expect(await waiting).toBe('stored');
    await writer.idle();
    writer.close();
  });

  it('waits for the row that is locked, and nobody else does who needs other rows', async () => {
    const { locked, done, writer, needing } = lockedRows();
    locked.add(1);
    const add = (...rows: number[]) => writer.add(needing, rows, 'engine');
    const waiting = [add(1), add(2, 1)];
    await Promise.all([add(2), add(3)]);
    waiting.push(add(3, 1));
    await add(2, 3);
    expect(done).toEqual(['needing 2', 'needing 3', 'needing 2,3']);
    locked.delete(1);
    expect(await Promise.all(waiting)).toEqual(['stored', 'stored', 'stored']);
    await writer.idle();
    writer.close();
  });

  it('is refused when a caller has waited for five seconds', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const { locked, writer, needing } = lockedRows();
    locked.add(1);
    const refused = expect(writer.add(needing, [1], 'caller')).rejects.toMatchObject({
      code: 'database_busy',
    });
    const idle = writer.idle();
    await vi.advanceTimersByTimeAsync(5200);
    await refused;
    await idle;
    writer.close();
  });

  it('is refused five seconds after the caller came, who has waited for something else before', async () => {
    vi.useFakeTimers();
    onTestFinished(() => void vi.useRealTimers());
    const { locked, writer, needing } = lockedRows();
    locked.add(1);
    const cameAt = performance.now() - 4000;
    const refused = expect(writer.add(needing, [1], 'caller', cameAt)).rejects.toMatchObject({
      code: 'database_busy',
    });
    await vi.advanceTimersByTimeAsync(1200);
    await refused;
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
