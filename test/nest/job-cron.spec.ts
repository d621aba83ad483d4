import { Injectable } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import {
  CronExpression,
  JobCron as Cron,
  SchedulesService,
  type Schedule,
} from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { jobsOf } from '../support/schedules.js';
import { until, waitForEnd } from '../support/waiting.js';

/** A moment as luxon gives it. */
class DateTime {
  constructor(private readonly atMs: number) {}

  toJSDate(): Date {
    return new Date(this.atMs);
  }
}

const calls: string[] = [];

/** Patterns of its documentation, and when each is due first after a Friday's noon. */
const PATTERNS: readonly (readonly [pattern: string, next: readonly string[]])[] = [
  ['* * * * * *', ['2027-01-01T12:00:01', '2027-01-01T12:00:02']],
  ['*/5 * * * * *', ['2027-01-01T12:00:05', '2027-01-01T12:00:10']],
  ['45 * * * * *', ['2027-01-01T12:00:45', '2027-01-01T12:01:45']],
  ['0 10 * * * *', ['2027-01-01T12:10:00', '2027-01-01T13:10:00']],
  ['0 */30 9-17 * * *', ['2027-01-01T12:30:00', '2027-01-01T13:00:00']],
  ['0 30 11 * * 1-5', ['2027-01-04T11:30:00', '2027-01-05T11:30:00']],
  ['@secondly', ['2027-01-01T12:00:01', '2027-01-01T12:00:02']],
  ['@minutely', ['2027-01-01T12:01:00', '2027-01-01T12:02:00']],
  ['@hourly', ['2027-01-01T13:00:00', '2027-01-01T14:00:00']],
  ['@daily', ['2027-01-02T00:00:00', '2027-01-03T00:00:00']],
  ['@weekdays', ['2027-01-04T00:00:00', '2027-01-05T00:00:00']],
  ['@weekends', ['2027-01-02T00:00:00', '2027-01-03T00:00:00']],
  ['@weekly', ['2027-01-03T00:00:00', '2027-01-10T00:00:00']],
  ['@monthly', ['2027-02-01T00:00:00', '2027-03-01T00:00:00']],
  ['@yearly', ['2028-01-01T00:00:00', '2029-01-01T00:00:00']],
];

/** As `@nestjs/schedule` documents `@Cron`, with another import alone. */
describe('@JobCron in the place of @Cron', () => {
  it('takes the documented examples as they are', async () => {
    const began = Date.now();
    @Injectable()
    class TasksService {
      @Cron('45 * * * * *')
      handleCron(): void {}

      @Cron(CronExpression.EVERY_30_SECONDS)
      handleExpression(): void {}

      @Cron('* * 0 * * *', { name: 'notifications', timeZone: 'Europe/Paris' })
      triggerNotifications(): void {}

      @Cron(new Date(Date.now() + 10 * 1000))
      handleMoment(): void {}
    }
    const app = await bootJobs({ providers: [TasksService] });
    const schedules = app.get(SchedulesService);
    const named = new Map((await schedules.list()).map((each) => [each.name, each] as const));
    const timeZone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    expect([...named.keys()].toSorted()).toEqual([
      'TasksService.handleCron',
      'TasksService.handleExpression',
      'TasksService.handleMoment',
      'notifications',
    ]);
    const secondsOf = (schedule: Schedule | undefined): number =>
      schedule?.nextRunAt?.getUTCSeconds() ?? Number.NaN;
    const each = named.get('TasksService.handleCron');
    expect(each).toMatchObject({ cron: '45 * * * * *', timeZone });
    expect(secondsOf(each)).toBe(45);
    expect(secondsOf(named.get('TasksService.handleExpression')) % 30).toBe(0);
    expect(named.get('notifications')).toMatchObject({ timeZone: 'Europe/Paris' });
    const [first, second] = await schedules.preview('notifications', 2);
    expect((second?.getTime() ?? 0) - (first?.getTime() ?? 0)).toBe(1000);
    const hour = new Intl.DateTimeFormat('en-GB', { timeZone: 'Europe/Paris', hour: '2-digit' });
    expect(hour.format(first)).toBe('00');
    const [moment, ...more] = await schedules.preview('TasksService.handleMoment', 2);
    expect(more).toEqual([]);
    expect(moment?.getTime()).toBeGreaterThanOrEqual(began + 10_000);
    expect(moment).toEqual(named.get('TasksService.handleMoment')?.nextRunAt);
  });

  it('runs once at a moment that luxon names', async () => {
    const atMs = Date.now() + 1500;
    @Injectable()
    class AtMoment {
      @Cron(new DateTime(atMs))
      atMoment(): void {
        calls.push('at moment');
      }
    }
    const app = await bootJobs({ providers: [AtMoment] });
    const schedules = app.get(SchedulesService);
    expect(await schedules.preview('AtMoment.atMoment', 2)).toEqual([new Date(atMs)]);
    const [job] = await until(async () => {
      const jobs = await jobsOf(app, schedules, 'AtMoment.atMoment');
      return jobs.length > 0 && jobs;
    }, 'its job');
    await waitForEnd(app.jobs, job?.id ?? '');
    expect(calls).toEqual(['at moment']);
    expect(job?.scheduledAt.getTime()).toBeGreaterThanOrEqual(atMs);
    expect(await schedules.get('AtMoment.atMoment')).toMatchObject({ nextRunAt: null });
  });

  it('is due when the documented patterns say', async () => {
    const startAt = new Date('2027-01-01T12:00:00.500Z');
    // One class for all: each pattern on a method of its own.
    class Patterns {}
    for (const [pattern] of PATTERNS) {
      const method = { value: (): void => undefined };
      Object.defineProperty(Patterns.prototype, pattern, method);
      Cron(pattern, { name: pattern, timeZone: 'UTC', startAt })(
        Patterns.prototype,
        pattern,
        method,
      );
    }
    Injectable()(Patterns);
    const app = await bootJobs({ providers: [Patterns] });
    for (const [pattern, next] of PATTERNS) {
      const slots = await app.get(SchedulesService).preview(pattern, 2);
      expect([pattern, slots.map((slot) => slot.toISOString().slice(0, 19))]).toEqual([
        pattern,
        next,
      ]);
    }
  });
});
