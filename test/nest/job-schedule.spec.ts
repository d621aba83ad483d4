import { Inject, Injectable, Scope } from '@nestjs/common';
import { afterEach, describe, expect, it } from 'vitest';
import {
  CronExpression,
  JobCron,
  JobSchedule,
  JobsService,
  JobType,
  SchedulesService,
  type JobContext,
  type JobHandler,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { createDatabase } from '../support/databases.js';
import { refusal } from '../support/refusals.js';
import { countRows, jobsOf, setNextRun, slotsOf } from '../support/schedules.js';
import { until, waitForEnd } from '../support/waiting.js';

let calls: string[] = [];
afterEach(() => {
  calls = [];
});

@JobType({ name: 'report', group: 'maintenance' })
@JobSchedule({ name: 'late report', every: '2h', params: { late: true }, misfire: 'skip' })
@JobSchedule('0 3 * * 1-5')
class Report implements JobHandler {
  execute(): void {}
}

@Injectable()
class Helper {
  readonly word = 'helped';
}

@Injectable()
class Cats {
  constructor(@Inject(Helper) private readonly helper: Helper) {}

  @JobCron('* * * * * *', { name: 'feed' })
  feed(ctx: JobContext): unknown {
    calls.push(`${this.helper.word} ${ctx.job.kind}`);
    return { notJson: 1n };
  }

  @JobCron(CronExpression.EVERY_HOUR)
  async hourly(): Promise<void> {
    await Promise.resolve();
    calls.push('hourly');
  }

  @JobCron(new Date('2099-01-01T00:00Z'), { name: 'once' })
  once(): void {}

  @JobCron('0 12 * * *', { name: 'a name with spaces', utcOffset: -150, disabled: true })
  named(): void {}

  plain(): void {}
}

@Injectable()
class Flaky {
  @JobCron('0 0 * * *', {
    name: 'flaky',
    timeZone: 'Europe/Paris',
    maxRetries: 1,
    retryDelay: 10,
    waitForCompletion: false,
    threshold: 100,
    unrefTimeout: true,
  })
  async run(): Promise<void> {
    calls.push('flaky');
    if (calls.length === 1) {
      await Promise.reject(new Error('once'));
    }
  }
}

@Injectable({ scope: Scope.TRANSIENT })
class EachTime {
  private count = 0;

  @JobCron('0 0 * * *', { name: 'each time' })
  run(): void {
    this.count += 1;
    calls.push(`count ${this.count}`);
  }
}

const schedulesIn = (app: BootedJobs): SchedulesService => app.get(SchedulesService);

describe('@JobSchedule', () => {
  it('declares schedules of a job type, named by it unless they have names', async () => {
    const app = await bootJobs({ types: [Report] });
    const declared = await schedulesIn(app).list();
    expect(declared).toMatchObject([
      { name: 'late report', every: 7_200_000, params: { late: true }, misfire: 'skip' },
      { name: 'maintenance:report', cron: '0 3 * * 1-5', timeZone: 'UTC', params: {} },
    ]);
    expect(declared.every(({ type }) => type === 'maintenance:report')).toBe(true);
  });

  it('leaves what an operator has changed, until the code says something else', async () => {
    const database = createDatabase();
    const first = await bootJobs({ types: [Report], database });
    const before = await schedulesIn(first).get('maintenance:report');
    await schedulesIn(first).upsert({ name: before.name, type: Report, cron: '0 5 * * *' });
    await schedulesIn(first).pause('late report');
    await first.close();

    const second = await bootJobs({ types: [Report], database });
    expect(await schedulesIn(second).get('maintenance:report')).toMatchObject({
      id: before.id,
      cron: '0 5 * * *',
    });
    expect(await schedulesIn(second).get('late report')).toMatchObject({ paused: true });
    await second.close();

    @JobType({ name: 'report', group: 'maintenance' })
    @JobSchedule({ name: 'late report', every: '3h' })
    class Changed implements JobHandler {
      execute(): void {}
    }
    const third = await bootJobs({ types: [Changed], database });
    expect(await schedulesIn(third).get('late report')).toMatchObject({
      every: 10_800_000,
      paused: true,
    });
  });

  it('of five applications that boot at once is stored once', async () => {
    const database = createDatabase();
    const apps = await Promise.all(
      Array.from({ length: 5 }, () => bootJobs({ types: [Report], database })),
    );
    expect(await countRows(apps[0] as BootedJobs)).toBe(4);
  });

  it('fails the boot when it is wrong, with its place and the fix', async () => {
    @JobType({ name: 'wrong' })
    @JobSchedule('0 0 30 2 *')
    class Wrong implements JobHandler {
      execute(): void {}
    }
    @JobType({ name: 'neither' })
    @JobSchedule('0 0 1-7 * +1#2')
    class Neither implements JobHandler {
      execute(): void {}
    }
    @JobType({ name: 'bounded' })
    @JobSchedule({
      cron: '0 0 1 2 *',
      startAt: new Date('2090-02-02'),
      endAt: new Date('2091-01-31'),
    })
    class Bounded implements JobHandler {
      execute(): void {}
    }
    @JobType({ name: 'twice' })
    @JobSchedule('0 0 * * *')
    @JobSchedule('0 1 * * *')
    class Twice implements JobHandler {
      execute(): void {}
    }
    @Injectable()
    class NoType {}
    // @ts-expect-error The compiler says so, too.
    JobSchedule('0 0 * * *')(NoType);
    for (const [type, says] of [
      [Wrong, /@JobSchedule of Wrong.*never be due/],
      [Neither, /@JobSchedule of Neither.*never be due.*leave out the \+/],
      [Bounded, /@JobSchedule of Bounded.*never be due before its end/],
      [Twice, /@JobSchedule of Twice.*another name/],
      [NoType, /@JobSchedule of NoType.*@JobType/],
    ] as const) {
      const refused = await refusal(bootJobs({ types: [type] }));
      expect(refused.code).toBe('invalid_options');
      expect(String(refused)).toMatch(says);
    }
  });
});

describe('@JobCron', () => {
  it('runs a method of any provider as a job, with what it injects', async () => {
    const app = await bootJobs({ providers: [Cats, Helper] });
    const { id, type } = await schedulesIn(app).get('feed');
    expect(type).toBe('default:feed');
    await until(() => calls.length >= 2, 'two calls');
    expect(new Set(calls)).toEqual(new Set(['helped periodic']));
    const [job] = await jobsOf(app, schedulesIn(app), 'feed');
    expect(await waitForEnd(app.jobs, job?.id ?? '')).toMatchObject({
      status: 'completed',
      result: null,
      scheduleId: id,
    });
  });

  it('takes what @Cron takes', async () => {
    const app = await bootJobs({ providers: [Cats, Helper, Flaky] });
    const named = Object.fromEntries(
      (await schedulesIn(app).list()).map((each) => [each.name, each]),
    );
    expect(Object.keys(named).toSorted()).toEqual([
      'Cats.hourly',
      'a name with spaces',
      'feed',
      'flaky',
      'once',
    ]);
    const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
    expect(named['Cats.hourly']).toMatchObject({
      type: 'default:Cats.hourly',
      timeZone: zone,
      overlap: 'skip',
    });
    expect(named['a name with spaces']).toMatchObject({
      type: 'default:Cats.named',
      timeZone: '-02:30',
      paused: true,
    });
    expect(named['flaky']).toMatchObject({ timeZone: 'Europe/Paris', overlap: 'allow' });
    expect(await schedulesIn(app).preview('once')).toEqual([new Date('2099-01-01T00:00Z')]);
  });

  it('has retries and history', async () => {
    const app = await bootJobs({ providers: [Flaky] });
    const { id } = await schedulesIn(app).runNow('flaky');
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'completed', retries: 1 });
    expect((await app.jobs.runs(id)).map(({ outcome }) => outcome)).toEqual([
      'failed',
      'completed',
    ]);
  });

  it('runs once in the whole cluster', async () => {
    const database = createDatabase();
    const apps = await Promise.all(
      [1, 2, 3].map(() => bootJobs({ providers: [Cats, Helper], database })),
    );
    const [app] = apps as [BootedJobs];
    const { id } = await schedulesIn(app).get('feed');
    await until(async () => (await slotsOf(app, id)).length >= 3, 'three slots');
    await schedulesIn(app).pause('feed');
    const jobs = await jobsOf(app, schedulesIn(app), 'feed');
    const made = (await slotsOf(app, id)).filter(({ jobId }) => jobId !== null);
    expect(jobs.map((job) => job.id)).toEqual(made.map(({ jobId }) => jobId));
    await until(() => calls.length === jobs.length, 'all calls');
  });

  it('makes an instance for each job of a transient provider', async () => {
    const app = await bootJobs({ providers: [EachTime] });
    for (let run = 0; run < 2; run += 1) {
      const { id } = await schedulesIn(app).runNow('each time');
      await waitForEnd(app.jobs, id);
    }
    expect(calls).toEqual(['count 1', 'count 1']);
  });

  it('whose one moment has passed is no reason not to boot', async () => {
    @Injectable()
    class Past {
      @JobCron(new Date('2020-01-01T00:00Z'), { name: 'past' })
      run(): void {}
    }
    const app = await bootJobs({ providers: [Past] });
    expect(await schedulesIn(app).list()).toEqual([]);
    expect(app.log.texts('warn').join(' ')).toContain('past');
    expect(await app.get(JobsService).list()).toMatchObject({ total: 0 });
  });

  it('waits after the start of a process as long as it is told', async () => {
    @Injectable()
    class Slow {
      @JobCron('* * * * * *', { name: 'slow', initialDelay: 1500 })
      run(): void {
        calls.push('slow');
      }
    }
    const started = performance.now();
    const app = await bootJobs({ providers: [Slow] });
    const { id } = await schedulesIn(app).get('slow');
    await setNextRun(app, id, Date.now() - 10);
    await until(() => calls.length > 0, 'a call');
    expect(performance.now() - started).toBeGreaterThan(1400);
  });

  it.each([
    ['an unknown option', { evry: 1 }, /evry/],
    ['zone and offset', { timeZone: 'UTC', utcOffset: 0 }, /one of them/],
    ['a bad offset', { utcOffset: 1.5 }, /whole minutes/],
    ['an unknown zone', { timeZone: 'Mars/Base' }, /Europe\/Berlin/],
    ['an unknown group', { group: 'nowhere' }, /nowhere/],
  ])('fails the boot for %s', async (_, options: object, says) => {
    @Injectable()
    class Wrong {
      @JobCron('* * * * *', options)
      run(): void {}
    }
    const refused = await refusal(bootJobs({ providers: [Wrong] }));
    expect(refused.code).toBe('invalid_options');
    expect(String(refused)).toMatch(/@JobCron of Wrong\.run/);
    expect(String(refused)).toMatch(says);
  });
});

describe('CronExpression', () => {
  it('has the names of @nestjs/schedule, which mean the same', async () => {
    const theirs = (await import('@nestjs/schedule')).CronExpression as Record<string, string>;
    const { nextSlot } = await import('../../lib/model/schedule-timetable.js');
    expect(Object.keys(CronExpression).toSorted()).toEqual(Object.keys(theirs).toSorted());
    const times = (cron: string): (number | undefined)[] => {
      const timetable = {
        kind: 'cron' as const,
        cron,
        timeZone: 'UTC',
        startAtMs: null,
        endAtMs: null,
      };
      let at: number | undefined = Date.UTC(2027, 0, 1);
      return Array.from({ length: 40 }, () => {
        at = at === undefined ? undefined : nextSlot(timetable, at);
        return at;
      });
    };
    for (const [name, cron] of Object.entries(CronExpression)) {
      expect([name, times(cron)]).toEqual([name, times(theirs[name] ?? '')]);
    }
  });
});
