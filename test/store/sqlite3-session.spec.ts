import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { DatabaseClock } from '../../lib/store/dialects/sqlite/sqlite-clock.js';
import {
  Sqlite3Session,
  type Sqlite3Database,
} from '../../lib/store/dialects/sqlite/sqlite3.session.js';
import { query, type Script } from '../../lib/store/dialects/sql.js';

/** A driver that notes what it is asked, with arguments as its verbose mode writes them out. */
function verboseDriver() {
  const asked: string[] = [];
  const written: string[] = [];
  const database: Sqlite3Database = {
    prepare(sql, done) {
      queueMicrotask(() => done(null));
      return {
        all(params, answer) {
          asked.push(sql);
          written.push(inspect(params, false, 0), inspect(answer, false, 0));
          queueMicrotask(() => answer(null, sql.includes('unixepoch') ? [{ now: 1 }] : []));
        },
        run(params, answer) {
          asked.push(sql);
          written.push(inspect(params, false, 0), inspect(answer, false, 0));
          queueMicrotask(() => answer.call({ lastID: 9, changes: 3 }, null));
        },
        reset: (reset) => reset(),
        finalize: () => undefined,
      };
    },
    exec: (_sql, done) => queueMicrotask(() => done(null)),
  };
  return {
    session: new Sqlite3Session(database, new DatabaseClock(), { isShared: false }),
    asked,
    written,
  };
}

describe('a session of sqlite3', () => {
  it('shows nothing that is bound to what writes out arguments', async () => {
    const { session, written } = verboseDriver();
    await session.run(query('SELECT ?', ['a secret']));
    expect(written.join()).not.toContain('secret');
    expect(written.join().length).toBeLessThan(20);
  });

  it('takes a statement that is all of the work as its own transaction', async () => {
    const { session, asked } = verboseDriver();
    function* only(): Script<string> {
      yield { sql: 'INSERT 1', params: [], alone: true };
      return 'done';
    }
    expect(await session.transact([only])).toEqual(['done']);
    expect(asked).toEqual(['INSERT 1']);
  });

  it('tells what was inserted, and shows nothing of it', async () => {
    const { session, written } = verboseDriver();
    function* insert(): Script<unknown> {
      return yield { sql: 'INSERT ?', params: ['a secret'], alone: true, tells: 'inserted' };
    }
    expect(await session.transact([insert])).toEqual([[[9, 3]]]);
    expect(written.join()).not.toContain('secret');
  });

  it('begins again in a transaction when there is more to do', async () => {
    const { session, asked } = verboseDriver();
    function* first(): Script<string> {
      yield { sql: 'INSERT 1', params: [], alone: true };
      yield { sql: 'INSERT 2', params: [] };
      return 'done';
    }
    expect(await session.transact([first])).toEqual(['done']);
    expect(asked).toEqual([
      'INSERT 1',
      'BEGIN IMMEDIATE',
      expect.stringContaining('unixepoch'),
      'INSERT 1',
      'INSERT 2',
      'COMMIT',
    ]);
    const { session: other, asked: ofOther } = verboseDriver();
    expect(await other.transact([first, first])).toEqual(['done', 'done']);
    expect(ofOther[0]).toBe('BEGIN IMMEDIATE');
  });
});
