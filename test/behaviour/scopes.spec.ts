import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as pause } from 'node:timers/promises';
import { Inject, Injectable, Module, Scope } from '@nestjs/common';
import { describe, expect, it } from 'vitest';
import {
  currentJobContext,
  JobsService,
  JobType,
  type Job,
  type JobContext,
  type JobHandler,
  type OnJobInit,
  type OnJobResume,
  type OnJobStateUpdate,
  type OnJobSuspend,
} from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { until, waitForEnd } from '../support/waiting.js';

let requestsMade = 0;

@Injectable({ scope: Scope.REQUEST })
class PerJob {
  readonly serial = ++requestsMade;
}

@Injectable()
class Clock {
  now(): string {
    return 'noon';
  }
}

@JobType({ name: 'scoped' })
class Scoped implements JobHandler {
  constructor(
    @Inject(PerJob) private readonly first: PerJob,
    @Inject(Clock) private readonly clock: Clock,
    @Inject(JobsService) private readonly jobs: JobsService,
  ) {}

  async execute(ctx: JobContext): Promise<unknown> {
    const self = await this.jobs.get(ctx.job.id);
    return { serial: this.first.serial, now: this.clock.now(), self: self.id === ctx.job.id };
  }
}

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  readonly serial = ++requestsMade;
  execute(): number {
    return this.serial;
  }
}

@Module({ providers: [Clock], exports: [Clock] })
class ClockModule {}

describe('a handler with a request-scoped provider', () => {
  it('is made anew for each job, with everything injected', async () => {
    const app = await bootJobs({ types: [Scoped], providers: [PerJob], imports: [ClockModule] });
    const jobs = [await app.run(Scoped), await app.run(Scoped), await app.run(Scoped)];
    const results = jobs.map((job) => job.result as { serial: number; now: string; self: boolean });
    expect(results.map((each) => [each.now, each.self])).toEqual(
      Array.from({ length: 3 }, () => ['noon', true]),
    );
    expect(new Set(results.map((each) => each.serial)).size).toBe(3);
  });

  it('is made anew for each attempt', async () => {
    const serials: number[] = [];

    @JobType({ name: 'twice', maxRetries: 1, retryDelay: 0 })
    class Twice implements JobHandler {
      constructor(@Inject(PerJob) private readonly own: PerJob) {}
      execute(): void {
        serials.push(this.own.serial);
        if (serials.length === 1) {
          throw new Error('again');
        }
      }
    }

    const app = await bootJobs({ types: [Twice], providers: [PerJob] });
    expect((await app.run(Twice)).status).toBe('completed');
    expect(new Set(serials).size).toBe(2);
  });

  it('has its hooks called on an instance as well', async () => {
    const called: string[] = [];

    @JobType({ name: 'hooked', suspendable: true })
    class Hooked implements JobHandler, OnJobInit, OnJobSuspend, OnJobResume, OnJobStateUpdate {
      constructor(@Inject(PerJob) private readonly own: PerJob) {}
      execute(): void {}
      onJobInit(job: Job): void {
        called.push(`init ${job.status} ${typeof this.own.serial}`);
      }
      onJobSuspend(): void {
        called.push(`suspend ${typeof this.own.serial}`);
      }
      onJobResume(): void {
        called.push(`resume ${typeof this.own.serial}`);
      }
      onJobStateUpdate(job: Job): void {
        called.push(`update ${job.status} ${typeof this.own.serial}`);
      }
    }

    const app = await bootJobs({ types: [Hooked], providers: [PerJob] });
    const { id } = await app.jobs.enqueue(Hooked, undefined, { delay: '1h' });
    await app.jobs.suspend(id);
    await app.jobs.resume(id);
    await until(() => called.includes('update waiting number'), 'the updates');
    expect(called).toEqual(
      expect.arrayContaining([
        'init initializing number',
        'suspend number',
        'resume number',
        'update suspended number',
      ]),
    );
    expect(called.filter((call) => call === 'init initializing number')).toHaveLength(2);
  });

  it('whose provider cannot be made fails its job, and the worker lives on', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class Broken {
      constructor() {
        throw new Error('cannot be made');
      }
    }

    @JobType({ name: 'unmakeable' })
    class Unmakeable implements JobHandler {
      constructor(@Inject(Broken) readonly broken: Broken) {}
      execute(): void {}
    }

    const app = await bootJobs({ types: [Unmakeable, Plain], providers: [Broken] });
    const job = await app.run(Unmakeable);
    expect(job.status).toBe('failed');
    expect(job.error).toMatch(/cannot be made/);
    expect((await app.run(Plain)).status).toBe('completed');
  });
});

describe('a handler in the default scope', () => {
  it('is one for all jobs', async () => {
    const app = await bootJobs({ types: [Plain] });
    expect((await app.run(Plain)).result).toBe((await app.run(Plain)).result);
  });
});

describe('currentJobContext', () => {
  @JobType({ name: 'nested' })
  class Nested implements JobHandler {
    async execute(ctx: JobContext): Promise<unknown> {
      const seen = [currentJobContext()];
      await pause(1);
      seen.push(currentJobContext());
      await new Promise<void>((resolve) => {
        setImmediate(() => {
          seen.push(currentJobContext());
          resolve();
        });
      });
      return seen.every((each) => each?.job.id === ctx.job.id);
    }
  }

  it('finds the context of the handler it is called from, however deep, and nothing elsewhere', async () => {
    const app = await bootJobs({ types: [Nested] });
    const jobs = await Promise.all(Array.from({ length: 20 }, () => app.run(Nested)));
    expect(jobs.every((job) => job.result === true)).toBe(true);
    expect(currentJobContext()).toBeUndefined();
  });
});

describe('AsyncLocalStorage', () => {
  const storage = new AsyncLocalStorage<string>();

  @JobType({ name: 'stored' })
  class Stored implements JobHandler {
    async execute(ctx: JobContext): Promise<unknown> {
      const before = storage.getStore() ?? null;
      storage.enterWith(ctx.job.id);
      await Promise.resolve();
      const afterAwait = storage.getStore();
      await pause(1);
      const afterTimer = storage.getStore();
      await ctx.checkpoint({});
      return {
        before,
        same: [afterAwait, afterTimer, storage.getStore()].every((id) => id === ctx.job.id),
      };
    }
  }

  it('of one handler is not seen by another, nor is that of the caller of enqueue', async () => {
    const app = await bootJobs({ types: [Stored], options: { queues: { default: 20 } } });
    const ids = await storage.run('the caller', () =>
      Promise.all(Array.from({ length: 200 }, async () => (await app.jobs.enqueue(Stored)).id)),
    );
    const jobs = await Promise.all(ids.map((id) => waitForEnd(app.jobs, id)));
    for (const job of jobs) {
      expect(job.result).toEqual({ before: null, same: true });
    }
  });
});
