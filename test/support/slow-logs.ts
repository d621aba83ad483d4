import { expect } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from './boot.js';
import { refusal } from './refusals.js';
import { until, waitForEnd, within } from './waiting.js';

@JobType({ name: 'logging' })
class Logging implements JobHandler {
  execute(ctx: JobContext): void {
    ctx.log.info('a line');
  }
}

/** How a database is asked to take long, and for the engine's sessions. */
export interface SlowDatabase {
  /** A condition that is met after a minute. */
  readonly aMinute: string;
  sessions(app: BootedJobs): Promise<readonly number[]>;
  /** Ends what a session is doing. */
  cancel(app: BootedJobs, session: number): Promise<unknown>;
}

/**
 * Whoever reads the log of one job waits for a minute a line; three do so at once, as many as there are
 * connections to read on.
 */
export async function readSlowLogs({ aMinute, sessions, cancel }: SlowDatabase): Promise<void> {
  const app = await bootJobs({ types: [Logging] });
  const { id } = await app.run(Logging);
  expect((await app.jobs.logs(id)).lines).toHaveLength(1);
  await app.sql('ALTER TABLE job_logs RENAME TO kept_logs');
  await app.sql(
    `CREATE VIEW job_logs AS SELECT * FROM kept_logs WHERE job_id <> '${id}' OR ${aMinute}`,
  );
  const before = await sessions(app);
  const ended: string[] = [];
  const reads = [1, 2, 3].map(async () => {
    try {
      await app.jobs.logs(id);
    } finally {
      ended.push('a read');
    }
  });
  void reads[2]?.catch(() => undefined);

  // It waits for its time, and is found by a look of the engine.
  const later = await app.jobs.enqueue(Logging, undefined, { delay: 300 });
  expect((await waitForEnd(app.jobs, later.id)).status).toBe('completed');
  ended.push('a job');

  const slow = await Promise.all(
    reads.slice(0, 2).map((read) => within(refusal(read), 'the end of a slow read', 30_000)),
  );
  for (const error of slow) {
    expect(error.code).toBe('database_busy');
    expect(error.message).toMatch(/ended a statement of this call/);
  }
  expect(ended[0]).toBe('a job');
  // The server was there all the time: none of its sessions was given up.
  expect(await sessions(app)).toEqual(expect.arrayContaining([...before]));
  expect((await app.run(Logging)).status).toBe('completed');
  // The third has begun when the first had ended, and need not take as long.
  await until(async () => {
    await Promise.all((await sessions(app)).map((session) => cancel(app, session)));
    return ended.length === 4;
  }, 'the end of the third read');
}
