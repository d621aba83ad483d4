import Database from 'better-sqlite3';
import { afterAll, describe, expect, it } from 'vitest';
import { initialSchema } from '../../lib/store/migrations/0001-initial.js';
import { ClaimScript } from '../../lib/store/typeorm/claim.script.js';
import { DutyScripts } from '../../lib/store/typeorm/duty.scripts.js';
import { JobScripts } from '../../lib/store/typeorm/job.scripts.js';
import { purge } from '../../lib/store/typeorm/purge.script.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';
import type { Script } from '../../lib/store/dialects/sql.js';

const tables = tableNames();
const database = new Database(':memory:');
for (const statement of initialSchema(tables)) {
  database.exec(statement);
}
afterAll(() => database.close());

/** How SQLite goes about the first statement of a script. */
function planOf(script: Script<unknown>): string {
  const step = script.next();
  if (step.done === true) {
    throw new Error('The script has no statement.');
  }
  const rows: unknown[] = database
    .prepare(`EXPLAIN QUERY PLAN ${step.value.sql}`)
    .all(...step.value.params);
  return rows.map((row) => String(Object.values(row as object).at(-1))).join('\n');
}

describe('the plan of', () => {
  const jobs = new JobScripts(tables);
  const duties = new DutyScripts(tables);

  it('a claim is one range of the ready index for each type and channel, in its order, with no sort', () => {
    const plan = planOf(
      new ClaimScript(tables).claim(
        {
          queue: 'default',
          types: ['a:a', 'b:b'],
          channels: ['', 'gpu'],
          limit: 10,
          workerId: 'w',
          leaseMs: 1,
          starts: true,
          onlyIfReady: false,
        },
        1,
      ),
    );
    expect(plan.match(/USING INDEX ix_jobs_ready \(type=\? AND channel=\?\)/g)).toHaveLength(4);
    expect(plan).not.toMatch(/TEMP B-TREE FOR ORDER BY|SCAN jobs/);
  });

  it('a renewal and the reaper look at the lease index alone', () => {
    expect(planOf(jobs.renew('w', 1, 1))).toMatch(/ix_jobs_lease/);
    expect(planOf(duties.expiredLeases(10, 1))).toMatch(/USING (COVERING )?INDEX ix_jobs_lease/);
  });

  it('a promotion looks at the due index alone', () => {
    expect(planOf(jobs.promote(10, 1))).toMatch(/ix_jobs_due/);
    expect(planOf(jobs.nextDue(1))).toMatch(/ix_jobs_due/);
  });

  it('retention looks at the index of ended jobs', () => {
    expect(planOf(purge(tables, 'completed', 1))).toMatch(/ix_jobs_ended/);
  });
});
