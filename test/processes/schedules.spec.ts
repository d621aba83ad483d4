import { describe, expect, it } from 'vitest';
import type { Engine } from '../../lib/engine/engine.js';
import { JobType, SchedulesService, type JobHandler } from '../../lib/index.js';
import { JOBS_ENGINE } from '../../lib/jobs.tokens.js';
import { bootJobs } from '../support/boot.js';
import { ChildApplication } from '../support/children.js';
import { createDatabase, driverUnderTest, isFile } from '../support/databases.js';
import { until } from '../support/waiting.js';

@JobType({ name: 'passes' })
class Passes implements JobHandler {
  execute(): void {}
}

/** At full size, where nothing else runs on the machine: only there times are judged. */
const isAlone = process.env['JOBS_TEST_ALONE'] === '1';
const SCHEDULES = isAlone ? 1000 : 60;
const DUE = isAlone ? 10_000 : 1000;
const SECONDS = isAlone ? 60 : 6;
const PROCESSES = 5;
const KILL_EVERY_MS = isAlone ? 10_000 : 1500;
/** How late 99 of 100 slots may be. */
const LATE_MS = 1500;
/**
 * How long a tick may take where the machine has nothing else to do. A server shares two cores with the
 * test, so there it is only said.
 */
const TICK_MS = 2000;

interface Slot {
  readonly schedule_id: string;
  readonly slot_ms: string | number;
  readonly job_id: string | null;
}

describe('schedulers', () => {
  it(
    `${PROCESSES} on one database, one of them killed again and again, make each slot of ${SCHEDULES} schedules once`,
    { timeout: SECONDS * 1000 + 120_000 },
    async () => {
      const database = createDatabase();
      const app = await bootJobs({ types: [Passes], database, options: { role: 'producer' } });
      const schedules = app.get(SchedulesService);
      const start = (): ChildApplication => ChildApplication.spawn({ database });
      const children = Array.from({ length: PROCESSES }, start);
      await Promise.all(children.map((child) => child.booted()));
      const firstMs = Math.ceil(Date.now() / 1000) * 1000 + (isAlone ? 5000 : 2000);
      const lastMs = firstMs + (SECONDS - 1) * 1000;
      const made = await Promise.all(
        Array.from({ length: SCHEDULES }, (_, at) =>
          schedules.upsert({
            name: `s${at}`,
            type: Passes,
            every: 1000,
            overlap: 'allow',
            startAt: new Date(firstMs),
            endAt: new Date(lastMs),
          }),
        ),
      );
      for (let killMs = firstMs; killMs < lastMs; killMs += KILL_EVERY_MS) {
        await until(() => Date.now() >= killMs, 'the next kill', KILL_EVERY_MS + 20_000);
        const [victim] = children.splice(0, 1);
        await victim?.kill('SIGKILL');
        children.push(start());
      }
      await until(() => Date.now() > lastMs, 'the last slot', KILL_EVERY_MS + 20_000);
      const dueLeft = async (): Promise<number> => {
        const [row] = await app.sql<{ remaining: string | number }>(
          'SELECT COUNT(*) AS remaining FROM job_schedule_times WHERE due_at_ms IS NOT NULL',
        );
        return Number(row?.remaining);
      };
      await until(async () => (await dueLeft()) === 0, 'all schedules to be over', 60_000);

      const slots = await app.sql<Slot>(
        'SELECT schedule_id, slot_ms, job_id FROM job_schedule_slots',
      );
      const jobs = await app.sql<{ job_id: string; scheduled_at_ms: string | number }>(
        "SELECT job_id, scheduled_at_ms FROM jobs WHERE kind = 'periodic'",
      );
      // None missed: each schedule has each second; none twice: as many jobs as slots, one each.
      const perSchedule = new Map(made.map(({ id }) => [id, new Set<number>()]));
      slots.forEach((slot) => perSchedule.get(slot.schedule_id)?.add(Number(slot.slot_ms)));
      const expected = Array.from({ length: SECONDS }, (_, at) => firstMs + at * 1000);
      for (const seen of perSchedule.values()) {
        expect([...seen].toSorted((a, b) => a - b)).toEqual(expected);
      }
      const storedAt = new Map(jobs.map((job) => [job.job_id, Number(job.scheduled_at_ms)]));
      expect(new Set(slots.map((slot) => slot.job_id))).toEqual(new Set(storedAt.keys()));
      expect(jobs).toHaveLength(SCHEDULES * SECONDS);
      expect(slots).toHaveLength(SCHEDULES * SECONDS);
      const late = slots
        .map((slot) => (storedAt.get(slot.job_id ?? '') ?? Infinity) - Number(slot.slot_ms))
        .toSorted((a, b) => a - b);
      const p99 = late[Math.ceil(late.length * 0.99) - 1] ?? Infinity;
      const said = `p50 ${late[Math.floor(late.length / 2)]} ms, most ${late.at(-1)} ms`;
      if (isAlone) {
        process.stderr.write(`[schedules] ${driverUnderTest}: p99 ${p99} ms, ${said}\n`);
        expect(p99, said).toBeLessThan(LATE_MS);
      }
    },
  );

  it(`a tick of ${DUE} schedules that are due at once`, { timeout: 120_000 }, async () => {
    const app = await bootJobs({ types: [Passes] });
    const schedules = app.get(SchedulesService);
    const startAt = new Date(Date.now() + 3_600_000);
    for (let from = 0; from < DUE; from += 500) {
      await Promise.all(
        Array.from({ length: Math.min(500, DUE - from) }, (_, at) =>
          schedules.upsert({ name: `s${from + at}`, type: Passes, every: '1h', startAt }),
        ),
      );
    }
    // The tick alone: what the jobs do then is their own matter.
    await app.queues.pause('default');
    const now = Date.now();
    await app.sql(`UPDATE job_schedule_times SET next_run_at_ms = ${now}, due_at_ms = ${now}`);
    const began = performance.now();
    app.get<Engine>(JOBS_ENGINE).scheduling.scheduler.wake();
    const made = async (): Promise<boolean> => {
      const [row] = await app.sql<{ made: string | number }>(
        'SELECT COUNT(*) AS made FROM job_schedule_slots WHERE job_id IS NOT NULL',
      );
      return Number(row?.made) === DUE;
    };
    await until(made, 'all slots', 60_000);
    const tookMs = performance.now() - began;
    if (isAlone) {
      process.stderr.write(`[schedules] ${DUE} due schedules in ${Math.round(tookMs)} ms\n`);
      expect(tookMs).toBeLessThan(isFile ? TICK_MS : Infinity);
    }
    const times = await app.sql<{ next_run_at_ms: string | number }>(
      'SELECT DISTINCT next_run_at_ms FROM job_schedule_times',
    );
    expect(times.map((row) => Number(row.next_run_at_ms))).toEqual([startAt.getTime()]);
  });
});
