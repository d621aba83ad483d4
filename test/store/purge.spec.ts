import Database from 'better-sqlite3';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { runScript, type Row, type Script } from '../../lib/store/dialects/sql.js';
import { MIGRATIONS } from '../../lib/store/migrations/index.js';
import { EXTRA } from '../../lib/model/extras.js';
import {
  purge,
  removeDeleted,
  sweep,
  type PurgedTo,
} from '../../lib/store/typeorm/purge.script.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';

const tables = tableNames();
let database: InstanceType<typeof Database>;
/** How many rows each INSERT of the last script has stored. */
let notes: number[] = [];
afterEach(() => database.close());

/** Runs a script, and tells the rows that its largest statement changed. */
function run<T>(script: Script<T>): { readonly result: T; readonly most: number } {
  let most = 0;
  notes = [];
  const result = runScript(script, ({ sql, params }) => {
    const statement = database.prepare(sql);
    if (statement.reader) {
      return statement.raw(true).all(...params) as Row[];
    }
    const { changes } = statement.run(...params);
    most = Math.max(most, changes);
    if (sql.startsWith('INSERT')) {
      notes.push(changes);
    }
    return [];
  });
  return { result, most };
}

function count(table: string): number {
  return database.prepare(`SELECT count(*) FROM ${table}`).pluck().get() as number;
}

/** Lines and runs whose job is gone. */
function withoutJob(): number {
  return database
    .prepare(
      `SELECT count(*) FROM (SELECT job_id FROM job_logs UNION ALL SELECT job_id FROM job_runs)
       WHERE job_id NOT IN (SELECT job_id FROM jobs)`,
    )
    .pluck()
    .get() as number;
}

/** Jobs that ended at 1, with so many lines and runs each. */
function fill(jobs: number, lines: number, runs: number): void {
  database = new Database(':memory:');
  for (const statement of MIGRATIONS.flatMap((migration) => migration(tables))) {
    database.exec(statement);
  }
  const columns: string[] = database
    .prepare(
      `SELECT name FROM pragma_table_info('job_rows') WHERE "notnull" = 1 AND dflt_value IS NULL`,
    )
    .pluck()
    .all() as string[];
  const names = columns.filter((name) => name !== 'status');
  database.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${jobs})
    INSERT INTO job_rows (seq, status, finished_at_ms, ${names.join(', ')})
    SELECT i, 'completed', 1, ${names.map(() => '0').join(', ')} FROM n`);
  database.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${lines})
    INSERT INTO job_logs (job_id, run_id, at_ms, level, message) SELECT job_id, '', 1, 2, 'a line' FROM jobs, n`);
  database.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${runs})
    INSERT INTO job_runs (run_id, job_id, revision, updated_at_ms, outcome)
    SELECT job_id || ' run ' || i, job_id, i, 1, 'failed' FROM jobs, n`);
}

describe('retention', () => {
  it('deletes by the row, and a job after all of its history, in slices that end after some milliseconds', () => {
    fill(2, 100_000, 300);
    const first = run(purge(tables, 'completed', 2));
    expect(first).toMatchObject({ result: { seq: -1 }, most: 200 });
    expect(count('job_logs')).toBeLessThan(200_000);
    expect(count('job_logs')).toBeGreaterThan(0);
    expect(count('jobs')).toBe(2);
    while (run(purge(tables, 'completed', 2)).result !== undefined) {
      // How far a slice comes is the machine's affair; whose history is not gone is there.
      expect(withoutJob()).toBe(0);
    }
    expect(['job_logs', 'job_runs', 'jobs'].map(count)).toEqual([0, 0, 0]);
  });

  it('deletes what was told of a job in such slices too', () => {
    fill(1, 0, 0);
    database.exec(`UPDATE job_rows SET extras = ${EXTRA.events};
      INSERT INTO job_webhooks (id, url, is_declared, is_enabled, created_at_ms, updated_at_ms)
        VALUES ('disabled', '', 0, 0, 0, 0);
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
        INSERT INTO job_events (job_seq, sequence, job_id, at_ms, kind, status, detail)
        SELECT seq, i, job_id, 0, 'check_in', 'running', '{}' FROM jobs, n;
      INSERT INTO job_deliveries (id, target, lane, due_at_ms, job_seq, sequence, job_id, tenant_id,
          event, status, attempts, lost, created_at_ms, updated_at_ms)
        SELECT 'delivery ' || sequence, 'disabled', 'disabled', 0, job_seq, sequence, job_id, '',
          'job.check_in', 'pending', 0, 0, 0, 0 FROM job_events`);
    let slices = 0;
    for (let more: unknown = true; more !== undefined; slices += 1) {
      const { result, most } = run(purge(tables, 'completed', 2));
      expect(most).toBeLessThanOrEqual(200);
      more = result;
    }
    expect(slices).toBeGreaterThan(1);
    expect(['job_deliveries', 'job_events', 'jobs'].map(count)).toEqual([0, 0, 0]);
  });

  it('leaves younger jobs and those of another status, with their lines', () => {
    fill(3, 10, 1);
    database.exec(`UPDATE jobs SET finished_at_ms = 2 WHERE seq = 2`);
    database.exec(`UPDATE jobs SET status = 'failed' WHERE seq = 3`);
    while (run(purge(tables, 'completed', 2)).result !== undefined) {
      // How far a slice comes is the machine's affair.
    }
    expect(['job_logs', 'job_runs', 'jobs'].map(count)).toEqual([20, 2, 2]);
  });

  it('looks at each job that others still need once in a walk, also where many ended at once', () => {
    fill(20_003, 0, 0);
    // All but the last three are waited for by a job that has not ended.
    database.exec(`UPDATE job_rows SET extras = ${EXTRA.dependents} WHERE seq <= 20000;
      UPDATE job_rows SET status = 'waiting', finished_at_ms = NULL WHERE seq = 20003;
      INSERT INTO job_dependencies (parent_seq, child_seq, on_failure, told)
        SELECT seq, 20003, 'fail', 0 FROM job_rows WHERE seq <= 20000`);
    database.exec(
      `UPDATE job_rows SET finished_at_ms = seq / 500 WHERE finished_at_ms IS NOT NULL`,
    );
    let looked = 0;
    const plans = new Set<string | undefined>();
    const prepared = new Map<string, Database.Statement>();
    let from: PurgedTo | undefined;
    do {
      const script = purge(tables, 'completed', 100, 100, from);
      from = runScript(script, ({ sql, params }) => {
        let statement = prepared.get(sql);
        if (statement === undefined) {
          statement = database.prepare(sql);
          prepared.set(sql, statement);
          if (sql.includes('CASE WHEN')) {
            const plan = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...params);
            plans.add(/\(.*\)/.exec((plan[0] as { detail: string }).detail)?.[0]);
          }
        }
        if (!statement.reader) {
          statement.run(...params);
          return [];
        }
        const rows = statement.raw(true).all(...params) as Row[];
        looked += sql.includes('CASE WHEN') ? rows.length : 0;
        return rows;
      });
    } while (from !== undefined);
    expect(looked).toBe(20_002);
    // Of those that ended together, none is walked over again to come to the next ones.
    expect([...plans].toSorted((a = '', b = '') => a.localeCompare(b))).toEqual([
      '(status=? AND finished_at_ms=? AND rowid>?)',
      '(status=? AND finished_at_ms>? AND finished_at_ms<?)',
    ]);
    expect(count('jobs')).toBe(20_001);
  });

  it('ends what the deletion of a job left over, and nothing else', () => {
    fill(2, 100_000, 300);
    const [gone, kept] = database.prepare(`SELECT job_id FROM jobs ORDER BY seq`).pluck().all();
    database.exec(`DELETE FROM jobs WHERE seq = 1`);
    run(removeDeleted(tables, { id: String(gone), seq: 1, extras: null }));
    expect(count(`job_logs WHERE job_id = '${String(gone)}'`)).toBeGreaterThan(0);
    while (run(sweep(tables)).result) {
      // Until it says that there is no more.
    }
    expect(count('job_logs')).toBe(100_000);
    expect(count(`job_logs WHERE job_id = '${String(kept)}'`)).toBe(100_000);
    expect(count('job_runs')).toBe(300);
  });
});

describe('what is left of deleted jobs', () => {
  /** Notes of so many jobs that are gone. */
  function note(jobs: number): void {
    fill(1, 0, 0);
    database.exec(`DELETE FROM job_logs;
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${jobs})
      INSERT INTO job_logs (job_id, run_id, at_ms, level, message) SELECT '', '', 0, 0, 'job ' || i FROM n`);
  }

  it('is deleted as long as there is time, however many jobs it is of', () => {
    note(200);
    vi.spyOn(performance, 'now').mockReturnValue(0);
    onTestFinished(() => void vi.restoreAllMocks());
    expect(run(sweep(tables)).result).toBe(false);
    expect(count('job_logs')).toBe(0);
  });

  it('is left for the next slice when the time is over', () => {
    note(200);
    let nowMs = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 20));
    onTestFinished(() => void vi.restoreAllMocks());
    expect(run(sweep(tables)).result).toBe(true);
    expect(count('job_logs')).toBe(195);
  });

  it('is noted by one statement for all jobs of a slice', () => {
    fill(5, 0, 0);
    database.exec(`UPDATE job_rows SET extras = ${EXTRA.steps};
      WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
      INSERT INTO job_signals (job_seq, place, name, payload, at_ms) SELECT 1, i, 's', '', 0 FROM n`);
    let nowMs = 0;
    vi.spyOn(performance, 'now').mockImplementation(() => (nowMs += 4));
    onTestFinished(() => void vi.restoreAllMocks());
    run(purge(tables, 'completed', 2));
    expect(count('jobs')).toBe(0);
    expect(notes).toEqual([5]);
    expect(count('job_logs')).toBe(5);
  });
});
