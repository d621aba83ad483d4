import { type SchedulesService } from '../../lib/index.js';
import { JOBS_ENGINE } from '../../lib/jobs.tokens.js';
import type { Engine } from '../../lib/engine/engine.js';
import type { BootedJobs } from './boot.js';

/** Puts the next slot of a schedule to a time, as if time had passed, and has the scheduler look. */
export async function setNextRun(app: BootedJobs, id: string, atMs: number): Promise<void> {
  await app.sql(
    `UPDATE job_schedule_times SET next_run_at_ms = ${atMs}, due_at_ms = ${atMs} WHERE schedule_id = '${id}'`,
  );
  app.get<Engine>(JOBS_ENGINE).scheduling.scheduler.wake();
}

/** The slots of a schedule that are remembered, earliest first, and whether each made a job. */
export async function slotsOf(
  app: BootedJobs,
  id: string,
): Promise<readonly { readonly slot: number; readonly jobId: string | null }[]> {
  const rows = await app.sql<{ slot_ms: string | number; job_id: string | null }>(
    `SELECT slot_ms, job_id FROM job_schedule_slots WHERE schedule_id = '${id}' ORDER BY slot_ms`,
  );
  return rows.map((row) => ({ slot: Number(row.slot_ms), jobId: row.job_id }));
}

/** How many rows there are of schedules, of any kind. */
export async function countRows(app: BootedJobs): Promise<number> {
  const [row] = await app.sql<{ count: string | number }>(
    `SELECT (SELECT COUNT(*) FROM job_schedules) + (SELECT COUNT(*) FROM job_schedule_times) AS count`,
  );
  return Number(row?.count);
}

/** The jobs that a schedule has made, oldest first. */
export async function jobsOf(app: BootedJobs, schedules: SchedulesService, name: string) {
  const { id } = await schedules.get(name);
  const page = await app.jobs.list({ scheduleId: id, order: 'scheduled_at', limit: 1000 });
  return page.jobs;
}
