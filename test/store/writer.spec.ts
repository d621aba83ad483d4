import { describe, expect, it } from 'vitest';
import { runScript } from '../../lib/store/dialects/sql.js';
import type { Session } from '../../lib/store/dialects/session.js';
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

describe('the writer', () => {
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
