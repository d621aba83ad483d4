import Database from 'better-sqlite3';
import { afterAll, describe, expect, it } from 'vitest';
import { newId } from '../../lib/model/id.js';
import { MIGRATIONS } from '../../lib/store/migrations/index.js';
import { SqliteInsertScript } from '../../lib/store/dialects/sqlite/insert.script.js';
import { SqliteInsertsBehind } from '../../lib/store/dialects/sqlite/insert-behind.js';
import { SqliteClaimScript } from '../../lib/store/dialects/sqlite/claim.script.js';
import { SqliteLimitedClaims } from '../../lib/store/dialects/sqlite/limited-claim.script.js';
import { Declarations } from '../../lib/store/dialects/sqlite/declarations.js';
import { heldRuns, insertLines } from '../../lib/store/typeorm/history.store.js';
import { DeliveryInserts } from '../../lib/store/typeorm/delivery-inserts.js';
import { DutyScripts } from '../../lib/store/typeorm/duty.scripts.js';
import { completeHeard } from '../../lib/store/typeorm/heard-ends.script.js';
import { JobScripts } from '../../lib/store/typeorm/job.scripts.js';
import { purge } from '../../lib/store/typeorm/purge.script.js';
import { ScheduleScripts } from '../../lib/store/typeorm/schedule.scripts.js';
import { waitersAmong } from '../../lib/store/typeorm/lock.script.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';
import { runScript, type Row, type Script } from '../../lib/store/dialects/sql.js';
import { resolveQuery } from '../../lib/services/list-query.js';
import type { JobQuery } from '../../lib/index.js';
import { CountScripts } from '../../lib/store/typeorm/count.scripts.js';
import { ListScripts } from '../../lib/store/typeorm/list.script.js';
import { draftBehind } from '../support/drafts.js';

const tables = tableNames();
const database = new Database(':memory:');
for (const statement of MIGRATIONS.flatMap((migration) => migration(tables))) {
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

/** How SQLite goes about each statement of a script that finds no rows. */
function plansOf(script: Script<unknown>): string {
  const plans: string[] = [];
  runScript(script, ({ sql, params }) => {
    const rows: unknown[] = database.prepare(`EXPLAIN QUERY PLAN ${sql}`).all(...params);
    plans.push(...rows.map((row) => String(Object.values(row as object).at(-1))));
    const prepared = database.prepare(sql);
    if (!prepared.reader) {
      prepared.run(...params);
      return [];
    }
    return prepared.raw().all(...params) as Row[];
  });
  return plans.join('\n');
}

describe('the plan of', () => {
  const jobs = new JobScripts(tables);
  const duties = new DutyScripts(tables);

  it('a claim is one range of the ready index for each type and channel, in its order, with no sort', () => {
    const declarations = new Declarations(tables);
    database.exec(`INSERT INTO job_declarations (type, type_version, group_name, queue, timeout_sec, max_retries, retry_delay_sec)
      VALUES ('a:a', 1, 'a', 'default', 0, 0, 0), ('b:b', 1, 'b', 'default', 0, 0, 0)`);
    const plan = plansOf(
      new SqliteClaimScript(tables, declarations).claim(
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
    expect(plan.match(/USING INDEX ix_jobs_ready \(declaration=\? AND channel=\?\)/g)).toHaveLength(
      4,
    );
    expect(plan).not.toMatch(/TEMP B-TREE FOR ORDER BY|SCAN held/);
  });

  it('a claim within limits steps from key to key, and takes of each by its range', () => {
    const declarations = new Declarations(tables);
    database.exec(`INSERT INTO job_declarations (type, type_version, group_name, queue, timeout_sec, max_retries, retry_delay_sec)
      VALUES ('limited:limited', 1, 'limited', 'default', 0, 0, 0)`);
    const insert =
      database.prepare(`INSERT INTO job_rows (declaration, channel, priority, ready, run_at_ms, id_high, id_low, params, limit_key)
      SELECT declaration, '', 0, 2, 1, 1, 1, '{}', ? FROM job_declarations WHERE type = 'limited:limited'`);
    for (const key of ['a', 'b', 'b', 'c']) {
      insert.run(key);
    }
    const claims = new SqliteClaimScript(tables, declarations);
    const plan = plansOf(
      new SqliteLimitedClaims(tables, jobs, claims, declarations).claim(
        {
          queue: 'default',
          types: ['limited:limited'],
          channels: [''],
          limit: 10,
          workerId: 'w',
          leaseMs: 1,
          starts: true,
          onlyIfReady: false,
          limits: new Map([
            [
              'limited:limited',
              {
                ceilings: [{ scope: 'type:limited:limited', most: 1, perMs: undefined, part: 0 }],
                isTenant: [true],
              },
            ],
          ]),
        },
        1,
      ),
    );
    expect(plan).toContain(
      'USING COVERING INDEX ix_jobs_turns (declaration=? AND channel=? AND limit_key>?)',
    );
    expect(plan).toContain(
      'USING COVERING INDEX ix_jobs_turns (declaration=? AND channel=? AND limit_key=?)',
    );
    expect(plan).toContain('ix_jobs_lease');
    expect(plan).not.toMatch(
      /TEMP B-TREE FOR ORDER BY|SCAN held|SCAN job_rows\b(?! USING INDEX ix_jobs_lease)/,
    );
    database.exec('DELETE FROM job_rows WHERE limit_key IS NOT NULL; DELETE FROM job_limits');
  });

  it('a renewal and the reaper look at the lease index alone', () => {
    expect(planOf(jobs.renew('w', 1, 1))).toMatch(/ix_jobs_lease/);
    expect(planOf(heldRuns(tables, ['w'], 1))).toMatch(/ix_jobs_lease/);
    expect(planOf(duties.expiredLeases(10, 1))).toMatch(/USING (COVERING )?INDEX ix_jobs_lease/);
  });

  it('whoever ends a job looks once whether anybody waits for any, and then by its row', () => {
    const plan = planOf(jobs.complete([{ seq: 1, runId: 'r', startedAtMs: 1, result: null }], 1));
    expect(plan).toContain('SEARCH job_rows USING INTEGER PRIMARY KEY (rowid=?)');
    expect(plan).toMatch(/SCALAR SUBQUERY \d+\nSCAN job_dependencies/);
    expect(plan).toMatch(
      /CORRELATED SCALAR SUBQUERY \d+\nSEARCH edge USING (COVERING INDEX \S+|PRIMARY KEY) \(parent_seq=\?\)/,
    );
  });

  it('a look at what jobs wait for goes by their rows and the edges between them', () => {
    const plan = planOf(
      waitersAmong(tables, [
        [1, 0],
        [2, 3],
      ]),
    );
    expect(plan).toMatch(/SEARCH job USING INTEGER PRIMARY KEY/);
    expect(plan).toMatch(/SEARCH edge USING .*\(parent_seq=\? AND child_seq=\?\)/);
    expect(plan).toMatch(/SEARCH extras USING INTEGER PRIMARY KEY/);
    expect(plan).not.toMatch(/SCAN (job|edge|extras)/);
  });

  it('who waits for others asks of each by its row whether it is open', () => {
    const inserts = new SqliteInsertScript(tables, new Declarations(tables));
    const draft = draftBehind([newId(), newId(), newId()]);
    const plan = planOf(new SqliteInsertsBehind(tables, inserts).insert([draft], 1));
    expect(plan).toContain('SEARCH held USING INTEGER PRIMARY KEY (rowid=?)');
    expect(plan).not.toContain('SCAN held');
  });

  it('what is written for a run finds its job by the row', () => {
    const plan = planOf(insertLines(tables, [{ seq: 1, runId: 'r', lines: [] }]));
    expect(plan).toContain('SEARCH held USING INTEGER PRIMARY KEY (rowid=?)');
    expect(plan).not.toMatch(/SCAN held|MATERIALIZE/);
    const ended = { seq: 1, runId: 'r', startedAtMs: 1, result: null };
    for (const script of [
      duties.standings([newId()]),
      completeHeard(tables, jobs, [ended, { ...ended, seq: 2 }], 1),
    ]) {
      expect(planOf(script)).toContain('SEARCH held USING INTEGER PRIMARY KEY (rowid=?)');
    }
  });

  it('a page of the jobs of a schedule that have not ended begins where the last one ended', () => {
    const plan = planOf(new ScheduleScripts(tables).openJobs('schedule', 5, 10));
    expect(plan).toMatch(/ix_job_schedule_jobs_schedule \(schedule_id=\? AND seq>\?\)/);
    expect(plan).not.toContain('TEMP B-TREE');
  });

  it('a look whether anything is due later in a lane is one range of it', () => {
    const given = { id: '', jobSeq: 1, sequence: 2, jobId: '', tenantId: '', event: '', url: null };
    const held = new DeliveryInserts(tables).isAnyHeldUp([{ ...given, target: 'a', lane: 'a' }], 1);
    expect(planOf(held)).toContain(
      'USING COVERING INDEX ix_job_deliveries_lane (lane=? AND due_at_ms>?)',
    );
  });

  it('a promotion looks at the due index alone', () => {
    expect(planOf(jobs.promote(10, 1))).toMatch(/ix_jobs_due/);
    expect(planOf(jobs.nextDue(1))).toMatch(/ix_jobs_due/);
  });

  it('retention looks at the index of ended jobs', () => {
    expect(planOf(purge(tables, 'completed', 1))).toMatch(/ix_jobs_ended/);
  });

  it.each<[string, JobQuery, string[]]>([
    ['all jobs', {}, ['USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)']],
    ['a tenant', { tenantId: 't' }, ['ix_jobs_tenant (tenant_id=? AND rowid>? AND rowid<?)']],
    ['a user', { userId: 'u' }, ['ix_jobs_user (user_id=? AND rowid>? AND rowid<?)']],
    [
      'what a job enqueued',
      { upstreamJobId: newId() },
      ['ix_jobs_upstream (upstream_job_id=? AND rowid>? AND rowid<?)'],
    ],
    ['a key', { idempotencyKey: 'k' }, ['COVERING INDEX ix_jobs_key (idempotency_key=?)']],
    [
      'an id or a key that begins so',
      { q: newId() },
      ['ix_jobs_key (idempotency_key>? AND idempotency_key<?)', 'PRIMARY KEY (rowid=?)'],
    ],
    [
      'waiting jobs',
      { status: 'waiting' },
      ['COVERING INDEX ix_jobs_ready', 'COVERING INDEX ix_jobs_due (run_at_ms>?)'],
    ],
    [
      'waiting jobs of a type',
      { status: 'waiting', type: 'a:a' },
      ['COVERING INDEX ix_jobs_ready (declaration=?)', 'COVERING INDEX ix_jobs_due (run_at_ms>?)'],
    ],
    ['running jobs', { status: ['running', 'locked'] }, ['INDEX ix_jobs_lease']],
    ['suspended jobs', { status: 'suspended' }, ['COVERING INDEX ix_jobs_suspended']],
    [
      'ended jobs',
      { status: ['failed', 'timeout'], order: '-priority' },
      ['COVERING INDEX ix_jobs_ended (status=? AND finished_at_ms>?)'],
    ],
  ])('a list of %s looks at its index', (_, asked, indexes) => {
    const plan = plansOf(new ListScripts(tables).list(resolveQuery(asked).query, { lastMs: 1 }));
    for (const index of indexes) {
      expect(plan).toContain(index);
    }
    // Index entries alone: a partial index holds no other rows.
    expect(plan.replaceAll(/SCAN held USING (COVERING )?INDEX \S+/g, '')).not.toMatch(/SCAN held/);
  });

  it('counts touch no row that an index or the tenant does not lead to', () => {
    const counts = new CountScripts(tables);
    const pace = { lastMs: 1 };
    const tenant = plansOf(counts.counts('t', pace));
    expect(tenant).toContain('ix_jobs_tenant (tenant_id=? AND rowid>? AND rowid<?)');
    expect(tenant).not.toMatch(/SCAN held|ix_jobs_ended/);
    const all = plansOf(counts.counts(undefined, pace));
    expect(all).toMatch(/COVERING INDEX ix_jobs_ended \(status=\?/);
    const queue = plansOf(counts.queueCounts('default', ['a:a'], undefined, pace));
    expect(queue).toContain('COVERING INDEX ix_jobs_ready (declaration=?)');
    expect(plansOf(counts.oldestWaiting(['a:a'], undefined, pace))).toContain(
      'COVERING INDEX ix_jobs_ready (declaration=?)',
    );
    expect(plansOf(counts.completedSince(1, 't', pace))).toContain(
      'ix_jobs_ended (status=? AND finished_at_ms>?)',
    );
    const waiting = plansOf(counts.waitingIn('default', 10, 0, undefined, pace));
    expect(waiting).toContain('COVERING INDEX ix_jobs_ready');
    for (const plan of [all, queue, waiting]) {
      expect(plan.replaceAll(/SCAN held USING (COVERING )?INDEX \S+/g, '')).not.toMatch(
        /SCAN held/,
      );
    }
  });
});
