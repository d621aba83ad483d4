import Database from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { JobType, SchedulesService, type JobHandler } from '../../lib/index.js';
import { NIL_TENANT } from '../../lib/model/tenant.js';
import { runScript, type Row, type Script } from '../../lib/store/dialects/sql.js';
import { seqOfId } from '../../lib/store/dialects/shared/row-numbers.js';
import { JobScripts } from '../../lib/store/typeorm/job.scripts.js';
import { purge, sweep } from '../../lib/store/typeorm/purge.script.js';
import { waitingFor } from '../../lib/store/typeorm/related-jobs.js';
import type { RelatedInserts } from '../../lib/store/typeorm/related-inserts.js';
import { ScheduleScripts } from '../../lib/store/typeorm/schedule.scripts.js';
import { ScheduleTicks } from '../../lib/store/typeorm/schedule-ticks.script.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { codeOf } from '../support/refusals.js';

const MANY = 10_000;
const tables = tableNames();

@JobType({ name: 'quick' })
class Quick implements JobHandler {
  execute(): void {}
}

/** An application that works at nothing. */
const boot = (): Promise<BootedJobs> => bootJobs({ types: [Quick], options: { role: 'producer' } });

/** Runs scripts on a connection of the test's own, and tells the most rows that a statement has read or changed. */
class Counting {
  most = 0;
  readonly #file: string | undefined;

  constructor(app: BootedJobs) {
    this.#file = app.database.file;
  }

  run<T>(script: Script<T>): T {
    this.most = 0;
    const database = new Database(this.#file, { timeout: 5000 });
    try {
      return runScript(script, ({ sql, params }) => {
        const statement = database.prepare(sql);
        const rows = statement.reader ? (statement.raw(true).all(...params) as Row[]) : [];
        const count = statement.reader ? rows.length : statement.run(...params).changes;
        this.most = Math.max(this.most, count);
        return rows;
      });
    } finally {
      database.close();
    }
  }
}

const numbers = `WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${MANY})`;

describe('with ten thousand jobs that have not ended a schedule', () => {
  const HOUR = 3_600_000;
  const scripts = new ScheduleScripts(tables);
  const ticks = new ScheduleTicks(tables, scripts, {} as RelatedInserts);

  it.each(['skip', 'cancel', 'allow'] as const)(
    'of overlap %s is claimed, found and deleted without reading them all',
    async (overlap) => {
      const app = await boot();
      const counting = new Counting(app);
      const { id } = await app.get(SchedulesService).upsert({
        name: 'crowded',
        type: Quick,
        every: HOUR,
        overlap,
      });
      await app.sql(`${numbers} INSERT INTO job_schedule_jobs (seq, schedule_id, job_id)
        SELECT i, '${id}', 'job ' || i FROM n`);
      const [claimed] = counting.run(
        ticks.claim('["default:quick"]', 10, 1000, Date.now() + 2 * HOUR),
      );
      expect(claimed?.open).toEqual(overlap === 'allow' ? [] : ['job 1', 'job 2', 'job 3']);
      expect(counting.most).toBeLessThan(10);
      expect(counting.run(scripts.find(NIL_TENANT, 'crowded'))?.open).toHaveLength(3);
      expect(counting.most).toBeLessThan(10);
      expect(counting.run(scripts.openJobs(id, 500, 500)).next).toBe(1000);
      expect(counting.run(scripts.remove(NIL_TENANT, 'crowded'))).toEqual({ id });
      expect(counting.most).toBeLessThan(10);
      while (counting.run(scripts.forgetJobs(id))) {
        expect(counting.most).toBe(1000);
      }
      expect(await app.sql('SELECT * FROM job_schedule_jobs')).toEqual([]);
    },
  );
});

describe('a job', () => {
  it('for which ten thousand wait is not deleted, and only so many of them are read', async () => {
    const app = await boot();
    const counting = new Counting(app);
    const parent = await app.jobs.enqueue(Quick, {}, { delay: '1h' });
    await app.jobs.enqueue(Quick, {}, { dependsOn: [parent.id] });
    await app.sql(`${numbers} INSERT INTO job_dependencies (parent_seq, child_seq, on_failure, told)
      SELECT parent_seq, child_seq + i, on_failure, told FROM job_dependencies, n`);
    const columns = await app.sql<{ name: string }>(
      `SELECT name FROM pragma_table_info('job_rows') WHERE name <> 'seq'`,
    );
    const copied = columns.map(({ name }) => name).join(', ');
    await app.sql(`${numbers} INSERT INTO job_rows (seq, ${copied})
      SELECT seq + i, ${copied} FROM job_rows, n WHERE seq = (SELECT MAX(seq) FROM job_rows)`);
    const seq = seqOfId(parent.id) ?? 0;
    const page = counting.run(waitingFor(tables, [seq], [-1, -1]));
    expect(page.waiting).toHaveLength(1000);
    expect(page.next).toEqual([seq, page.waiting.at(-1)?.seq]);
    const removal = new JobScripts(tables).change(
      parent.id,
      () => ({ set: {}, remove: true }),
      undefined,
      Date.now(),
    );
    expect(() => counting.run(removal)).toThrow(/and 999 or more others/);
    expect(counting.most).toBe(1000);
  });

  it('deletes what it has remembered, and who has waited for it, in slices', async () => {
    const app = await boot();
    const counting = new Counting(app);
    const { id } = await app.jobs.enqueue(Quick);
    await app.sql(`UPDATE job_rows SET status = 'completed', finished_at_ms = 1, extras = 0`);
    const of = `SELECT seq, i FROM job_rows, n`;
    await app.sql(`${numbers} INSERT INTO job_signals (job_seq, place, name, payload, at_ms)
      SELECT seq, i, 'a', 'null', 1 FROM (${of})`);
    await app.sql(`${numbers} INSERT INTO job_steps (job_seq, kind, name, part, done, run_id, at_ms)
      SELECT seq, 'step', i, 0, 1, '', 1 FROM (${of})`);
    await app.sql(`${numbers} INSERT INTO job_dependencies (parent_seq, child_seq, on_failure, told)
      SELECT seq, seq + i, 'fail', 1 FROM (${of})`);
    counting.run(purge(tables, 'completed', 2));
    expect(counting.most).toBe(200);
    expect(await codeOf(app.jobs.get(id))).toBe('not_found');
    while (counting.run(sweep(tables))) {
      expect(counting.most).toBeLessThanOrEqual(200);
    }
    for (const table of ['job_signals', 'job_steps', 'job_dependencies', 'job_logs']) {
      expect(await app.sql(`SELECT * FROM ${table}`)).toEqual([]);
    }
  });
});
