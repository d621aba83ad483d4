import Database from 'better-sqlite3';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { seqOfMs } from '../../lib/store/dialects/shared/row-numbers.js';
import { Declarations } from '../../lib/store/dialects/sqlite/declarations.js';
import { DatabaseClock } from '../../lib/store/dialects/sqlite/sqlite-clock.js';
import { runScript, type Row, type Script } from '../../lib/store/dialects/sql.js';
import { MIGRATIONS } from '../../lib/store/migrations/index.js';
import type { Created, InsertResult, JobDraft, JobTerms } from '../../lib/store/store.js';
import { SqliteInsertScript } from '../../lib/store/dialects/sqlite/insert.script.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';
import { draftOf, PLAIN_TERMS } from '../support/drafts.js';

const tables = tableNames();
const MINUTE = 60_000;

let database: InstanceType<typeof Database>;
let statements: number;
let inserts: SqliteInsertScript;

function run<T>(script: Script<T>): T {
  return runScript(script, ({ sql, params, tells }) => {
    statements += 1;
    const statement = database.prepare(sql);
    if (statement.reader) {
      return statement.raw(true).all(...params) as Row[];
    }
    const { lastInsertRowid, changes } = statement.run(...params);
    return tells === 'inserted' ? [[Number(lastInsertRowid), changes]] : [];
  });
}

function drafts(count: number, own: Partial<JobTerms> = {}): readonly JobDraft[] {
  const terms = { ...PLAIN_TERMS, ...own };
  return Array.from({ length: count }, (_, n) => draftOf({ params: `{"n":${n}}`, terms }));
}

function insert(some: readonly JobDraft[]): readonly Created[] {
  statements = 0;
  return run<readonly InsertResult[]>(inserts.insert(some, Date.now())).map((result) => {
    if (result.outcome !== 'created') {
      throw new Error(`A draft was ${result.outcome}.`);
    }
    return result;
  });
}

/** What is stored from that row on, as the view shows it. */
function stored(from = 0): readonly unknown[] {
  return database
    .prepare(
      `SELECT seq, job_id AS id, scheduled_at_ms AS scheduledAtMs, run_at_ms AS runAtMs, params, timeout_sec AS timeoutSec, tags
       FROM jobs WHERE seq >= ? ORDER BY seq`,
    )
    .all(from);
}

const asStored = ({ seq, id, scheduledAtMs, draft, job }: Created): unknown => ({
  seq,
  id,
  scheduledAtMs,
  runAtMs: job.runAtMs,
  params: draft.params,
  timeoutSec: draft.terms.timeoutSec,
  tags: draft.terms.tags,
});

beforeEach(() => {
  database = new Database(':memory:');
  for (const statement of MIGRATIONS.flatMap((migration) => migration(tables))) {
    database.exec(statement);
  }
  const declarations = new Declarations(tables);
  inserts = new SqliteInsertScript(tables, declarations, new DatabaseClock());
  run(declarations.of(PLAIN_TERMS));
  run(declarations.load());
});
afterEach(() => database.close());

describe('jobs that start now, where each statement is a journey', () => {
  it('are stored by one statement, each as it is told, behind all others', () => {
    for (const own of [{}, { timeoutSec: 5, tags: '["a"]' }]) {
      const last = Number(database.prepare('SELECT MAX(seq) FROM jobs').pluck().get() ?? 0);
      const before = Date.now();
      const created = insert(drafts(7, own));
      expect(statements).toBe(1);
      expect(stored(last + 1)).toEqual(created.map(asStored));
      for (const { seq, scheduledAtMs } of created) {
        expect(seq).toBeGreaterThan(last);
        expect(scheduledAtMs).toBeGreaterThanOrEqual(before);
        expect(scheduledAtMs).toBeLessThanOrEqual(Date.now() + 1);
      }
    }
  });

  it.each([
    ['half a minute ahead are followed', MINUTE / 2, 0],
    ['an hour ahead are not followed', 60 * MINUTE, -1],
  ])('and jobs of a clock that was %s', (_, ahead, sign) => {
    const [first] = insert(drafts(1));
    database
      .prepare('UPDATE job_rows SET seq = ? WHERE seq = ?')
      .run(seqOfMs(Date.now() + ahead), first?.seq);
    const highest = Number(database.prepare('SELECT MAX(seq) FROM jobs').pluck().get());
    const created = insert(drafts(3));
    expect(created.map(({ seq }) => Math.sign(seq - highest))).toEqual(
      sign === 0 ? [1, 1, 1] : [-1, -1, -1],
    );
    // Enqueued in what is the future by the clock now, and yet they may start.
    expect(created.every(({ job }) => job.runAtMs <= Date.now() + 1)).toBe(true);
    expect(stored()).toEqual(expect.arrayContaining(created.map(asStored)));
  });

  it('are stored one way or the other when numbers have run a minute ahead', () => {
    const [first] = insert(drafts(1));
    database
      .prepare('UPDATE job_rows SET seq = ? WHERE seq = ?')
      .run(seqOfMs(Date.now() + MINUTE) - 1, first?.seq);
    const created = insert(drafts(32));
    // The one that was tried in vain, two looks for free numbers, and the insert.
    expect(statements).toBeLessThanOrEqual(4);
    expect(stored()).toEqual(expect.arrayContaining(created.map(asStored)));
    expect(new Set(created.map(({ seq }) => seq)).size).toBe(created.length);
  });
});

describe('declarations', () => {
  it('that were taken back are forgotten when all are loaded again', () => {
    const declarations = new Declarations(tables);
    const other: JobTerms = { ...PLAIN_TERMS, type: 'default:other' };
    run(declarations.of(other));
    run(declarations.load());
    expect(declarations.known(other)?.number).toBe(2);
    database.exec(
      `DROP TRIGGER ix_job_declarations_kept; DELETE FROM job_declarations WHERE declaration = 2`,
    );
    run(new Declarations(tables).of({ ...PLAIN_TERMS, type: 'default:third' }));
    run(declarations.load());
    expect(declarations.known(other)).toBeUndefined();
    expect(run(declarations.of(other)).number).toBe(3);
  });
});
