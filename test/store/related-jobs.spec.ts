import Database from 'better-sqlite3';
import { afterAll, describe, expect, it } from 'vitest';
import { runScript, type Row } from '../../lib/store/dialects/sql.js';
import type { WaitingPage } from '../../lib/store/store.js';
import { MIGRATIONS } from '../../lib/store/migrations/index.js';
import { waitingFor } from '../../lib/store/typeorm/related-jobs.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';

const tables = tableNames();
const database = new Database(':memory:');
for (const statement of MIGRATIONS.flatMap((migration) => migration(tables))) {
  database.exec(statement);
}
afterAll(() => database.close());

/** Parents that so many wait for, by row number; each third of those has ended. */
const PARENTS: ReadonlyMap<number, number> = new Map([
  [1, 2500],
  ...Array.from({ length: 300 }, (_, at) => [2 + at, at % 3] as const),
  [400, 1500],
  [401, 0],
  [402, 1500],
]);
const edges: string[] = [];
database.transaction(() => {
  const columns = database
    .prepare(
      `SELECT name FROM pragma_table_info('job_rows') WHERE "notnull" = 1 AND dflt_value IS NULL`,
    )
    .pluck()
    .all() as string[];
  const names = columns.filter((name) => name !== 'status');
  const job = database.prepare(
    `INSERT INTO job_rows (seq, status, finished_at_ms, ${names.join(', ')})
     VALUES (?, ?, ?, ${names.map(() => '0').join(', ')})`,
  );
  const edge = database.prepare(
    `INSERT INTO job_dependencies (parent_seq, child_seq, on_failure, told) VALUES (?, ?, 'fail', 0)`,
  );
  let child = 1000;
  for (const [parent, count] of PARENTS) {
    for (let nth = 0; nth < count; nth += 1) {
      child += 1;
      const hasEnded = nth % 3 === 2;
      job.run(child, hasEnded ? 'completed' : 'waiting', hasEnded ? 1 : null);
      edge.run(parent, child);
      if (!hasEnded) {
        edges.push(`${parent} ${child}`);
      }
    }
  }
})();

describe('jobs that wait for many', () => {
  it('are read once each, in pages', () => {
    const found: string[] = [];
    const sizes: number[] = [];
    let read = 0;
    const parents = [...PARENTS.keys()].reverse();
    for (let after: readonly [number, number] | undefined = [-1, -1]; after !== undefined;) {
      const page: WaitingPage = runScript(waitingFor(tables, parents, after), ({ sql, params }) => {
        const rows = database
          .prepare(sql)
          .raw()
          .all(...params) as Row[];
        read += rows.length;
        return rows;
      });
      found.push(...page.waiting.map(({ parent, seq }) => `${parent} ${seq}`));
      sizes.push(page.waiting.length);
      after = page.next;
    }
    expect(found).toEqual(edges);
    expect(Math.max(...sizes)).toBe(1000);
    expect(read).toBeLessThan(edges.length * 4);
  });

  it('are found behind the last one by the key, without a sort', () => {
    const plans: string[] = [];
    runScript(waitingFor(tables, [1, 400, 402], [1, 1500]), ({ sql, params }) => {
      const rows = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...params);
      plans.push(...rows.map((row) => String(Object.values(row as object).at(-1))));
      return [];
    });
    expect(plans.join('\n')).toMatch(/SEARCH edge USING \S+.*\(parent_seq=\? AND child_seq>\?\)/);
    expect(plans.join('\n')).toMatch(/SEARCH edge USING \S+.*\(parent_seq=\?\)/);
    expect(plans.join('\n')).not.toMatch(/TEMP B-TREE|SCAN (edge|job_rows)/);
  });
});
