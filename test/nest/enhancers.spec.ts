import {
  Catch,
  Inject,
  Injectable,
  Scope,
  SetMetadata,
  UseFilters,
  UseGuards,
  UseInterceptors,
  UsePipes,
  ValidationPipe,
  type ArgumentsHost,
  type CallHandler,
  type CanActivate,
  type ExceptionFilter,
  type ExecutionContext,
  type NestInterceptor,
  type PipeTransform,
  type Provider,
  type Type,
} from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_INTERCEPTOR, APP_PIPE, Reflector } from '@nestjs/core';
import { catchError, concat, map, NEVER, of, tap, type Observable } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import {
  JobType,
  UnrecoverableJobError,
  type Job,
  type JobContext,
  type JobHandler,
  type JobProgress,
  type OnJobInit,
} from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { until, waitForEnd } from '../support/waiting.js';

/** What the enhancers of a test noted, in order. */
const seen: string[] = [];
afterEach(() => void seen.splice(0));

@Injectable()
class Limits {
  readonly most = 3;
}

/** Lets small numbers pass; asks the metadata of class and method, and what is injected. */
@Injectable()
class SmallOnly implements CanActivate {
  constructor(
    @Inject(Reflector) private readonly reflector: Reflector,
    @Inject(Limits) private readonly limits: Limits,
  ) {}

  canActivate(context: ExecutionContext): boolean {
    const ctx = context.getArgByIndex<JobContext<number>>(0);
    const roles = [context.getHandler(), context.getClass()].map((target) =>
      this.reflector.get<string>('role', target),
    );
    seen.push(`guard ${context.getType<string>()} ${roles.join(' ')} ${ctx.params}`);
    return ctx.params <= this.limits.most;
  }
}

/** Notes when a run begins and ends, and wraps its result. */
@Injectable()
class Timing implements NestInterceptor {
  intercept(context: ExecutionContext, next: CallHandler<unknown>): Observable<unknown> {
    seen.push(`before ${context.getClass().name}.${context.getHandler().name}`);
    return next.handle().pipe(
      tap(() => seen.push('after')),
      map((result) => ({ result })),
    );
  }
}

class TooMuch extends Error {}

@Catch(TooMuch)
class Excuse implements ExceptionFilter {
  catch(error: TooMuch, host: ArgumentsHost): unknown {
    const ctx = host.getArgByIndex<JobContext>(0);
    seen.push(`filter ${host.getType<string>()} ${error.message} ${ctx.attempt}`);
    if (error.message === 'forever') {
      throw new UnrecoverableJobError('too much, for ever');
    }
    return error.message === 'unanswered' ? undefined : { excused: error.message };
  }
}

@SetMetadata('role', 'class')
@UseGuards(SmallOnly)
@UseInterceptors(Timing)
@JobType({ name: 'guarded' })
class Guarded implements JobHandler<number> {
  #calls = 0;

  @SetMetadata('role', 'method')
  execute(ctx: JobContext<number>): number {
    this.#calls += 1;
    seen.push(`execute ${this.#calls}`);
    return ctx.params * 2;
  }
}

const boot = (types: readonly Type[], providers: readonly Provider[] = []): Promise<BootedJobs> =>
  bootJobs({ types, providers });

describe('a handler with enhancers', () => {
  it('runs behind its guards and interceptors, in a context of the type job', async () => {
    const app = await boot([Guarded], [Limits]);
    const done = await app.run(Guarded, 2);
    expect([done.status, done.result]).toEqual(['completed', { result: 4 }]);
    expect(seen).toEqual([
      'guard job method class 2',
      'before Guarded.execute',
      'execute 1',
      'after',
    ]);
  });

  it('that a guard turns away fails as if it had thrown, without being called', async () => {
    const app = await boot([Guarded], [Limits]);
    const refused = await app.run(Guarded, 4, { maxRetries: 1, retryDelay: 0 });
    expect([refused.status, refused.retries]).toEqual(['failed', 1]);
    expect(refused.error).toContain('Forbidden');
    expect(seen).toEqual(['guard job method class 4', 'guard job method class 4']);
  });

  it('takes them on the method, by class and by instance', async () => {
    @JobType({ name: 'method' })
    class OnMethod implements JobHandler {
      @UseGuards(SmallOnly, { canActivate: () => seen.push('instance') > 0 })
      @UseInterceptors(Timing, new Timing())
      execute(): string {
        return 'done';
      }
    }
    const app = await boot([OnMethod], [Limits]);
    expect((await app.run(OnMethod, 1)).result).toEqual({ result: { result: 'done' } });
    expect(seen).toContain('instance');
  });

  it('reports progress by its stream, whose end interceptors see as one result', async () => {
    @UseInterceptors(Timing)
    @JobType({ name: 'stream' })
    class Stream implements JobHandler {
      async *execute(): AsyncGenerator<JobProgress, string> {
        for (let completed = 1; completed <= 3; completed++) {
          seen.push(`step ${completed}`);
          yield { completed, total: 3 };
        }
        return 'read';
      }
    }
    @UseInterceptors(Timing)
    @JobType({ name: 'observable' })
    class Rx implements JobHandler {
      execute(): Observable<number> {
        return of(0.25, 0.5);
      }
    }
    const app = await boot([Stream, Rx]);
    const read = await app.run(Stream);
    expect(read).toMatchObject({
      status: 'completed',
      result: { result: 'read' },
      completed: 3,
      total: 3,
    });
    expect(seen).toEqual(['before Stream.execute', 'step 1', 'step 2', 'step 3', 'after']);
    expect(await app.run(Rx)).toMatchObject({ status: 'completed', result: {} });
  });

  it('fails by progress that is none, as every handler does', async () => {
    @UseInterceptors(Timing)
    @JobType({ name: 'wild' })
    class Wild implements JobHandler {
      execute(): Observable<number> {
        return of(0.5, 7);
      }
    }
    const app = await boot([Wild]);
    expect(await app.run(Wild)).toMatchObject({ status: 'failed', progress: 0.5 });
  });

  it('is unsubscribed when its job is canceled or suspended', async () => {
    let stopped = 0;
    @UseInterceptors(Timing)
    @JobType({ name: 'endless', suspendable: true })
    class Endless implements JobHandler {
      execute(): Observable<number> {
        return concat(of(0.5), NEVER).pipe(tap({ unsubscribe: () => (stopped += 1) }));
      }
    }
    const app = await boot([Endless]);
    const first = await app.jobs.enqueue(Endless);
    await until(async () => (await app.jobs.get(first.id)).progress === 0.5, 'progress');
    await app.jobs.cancel(first.id);
    expect((await waitForEnd(app.jobs, first.id)).status).toBe('canceled');
    const second = await app.jobs.enqueue(Endless);
    await until(async () => (await app.jobs.get(second.id)).progress === 0.5, 'progress');
    await app.jobs.suspend(second.id);
    await until(async () => (await app.jobs.get(second.id)).status === 'suspended', 'suspended');
    expect(stopped).toBe(2);
  });

  it('is not called when its job was canceled while a guard took its time', async () => {
    let open: (may: boolean) => void = () => undefined;
    @UseGuards({ canActivate: () => new Promise<boolean>((resolve) => (open = resolve)) })
    @JobType({ name: 'pending' })
    class Pending implements JobHandler {
      execute(): void {
        seen.push('called');
      }
    }
    const app = await boot([Pending]);
    const { id } = await app.jobs.enqueue(Pending);
    await until(async () => (await app.jobs.get(id)).status === 'running', 'running');
    await app.jobs.cancel(id);
    open(true);
    expect((await waitForEnd(app.jobs, id)).status).toBe('canceled');
    expect(seen).toEqual([]);
  });

  it('keeps its hooks, and what they know of the instance', async () => {
    @UseGuards({ canActivate: () => true })
    @JobType({ name: 'hooked' })
    class Hooked implements JobHandler, OnJobInit {
      #initialized = 0;
      onJobInit(): void {
        this.#initialized += 1;
      }
      execute(): number {
        return this.#initialized;
      }
      shouldRetry(): boolean {
        return this.#initialized < 0;
      }
    }
    const app = await boot([Hooked]);
    expect((await app.run(Hooked)).result).toBe(1);
  });
});

describe('steering', () => {
  const swallow: NestInterceptor = {
    intercept: (_context, next) => next.handle().pipe(catchError(() => of('swallowed'))),
  };

  it('goes through interceptors and filters that take everything', async () => {
    @Catch()
    class TakeAll implements ExceptionFilter {
      catch(error: unknown): string {
        seen.push(`filter ${String(error)}`);
        return 'taken';
      }
    }
    @UseInterceptors(swallow)
    @UseFilters(TakeAll)
    @JobType({ name: 'skipping' })
    class Skipping implements JobHandler {
      execute(ctx: JobContext): never {
        return ctx.skip('nothing to do');
      }
    }
    const app = await boot([Skipping]);
    expect(await app.run(Skipping)).toMatchObject({ status: 'skipped', details: 'nothing to do' });
    expect(seen).toEqual([]);
  });

  it('of an error is the interceptor’s to decide', async () => {
    @UseInterceptors(swallow)
    @JobType({ name: 'throwing' })
    class Throwing implements JobHandler {
      execute(): never {
        throw new Error('no');
      }
    }
    const app = await boot([Throwing]);
    expect(await app.run(Throwing)).toMatchObject({ status: 'completed', result: 'swallowed' });
  });
});

describe('filters', () => {
  @UseFilters(Excuse)
  @JobType({ name: 'excused', maxRetries: 2, retryDelay: 0 })
  class Excused implements JobHandler<string> {
    execute(ctx: JobContext<string>): never {
      throw ctx.params === 'other' ? new Error('other') : new TooMuch(ctx.params);
    }
  }

  it('answer in place of the handler, throw something else, or leave it as it is', async () => {
    const app = await boot([Excused]);
    expect(await app.run(Excused, 'work')).toMatchObject({
      status: 'completed',
      result: { excused: 'work' },
    });
    expect(await app.run(Excused, 'forever')).toMatchObject({ status: 'failed', retries: 0 });
    const unanswered: Job = await app.run(Excused, 'unanswered');
    expect([unanswered.status, unanswered.retries]).toEqual(['failed', 2]);
    expect((await app.run(Excused, 'other')).error).toContain('other');
    expect(seen.filter((each) => each.includes('other'))).toEqual([]);
    expect(seen[0]).toBe('filter job work 1');
  });
});

describe('pipes', () => {
  it('are given the context, and may give another', async () => {
    class Times implements PipeTransform {
      transform(ctx: JobContext<number>, metadata: { type: string }): { params: number } {
        seen.push(`pipe ${metadata.type}`);
        return { params: ctx.params * 10 };
      }
    }
    @UsePipes(Times)
    @JobType({ name: 'piped' })
    class Piped implements JobHandler<number> {
      execute(ctx: JobContext<number>): number {
        return ctx.params;
      }
    }
    const app = await boot([Piped]);
    expect((await app.run(Piped, 4)).result).toBe(40);
    expect(seen).toEqual(['pipe custom']);
  });

  it('of a kind made for requests do no harm', async () => {
    @UsePipes(new ValidationPipe({ transform: true, whitelist: true, forbidNonWhitelisted: true }))
    @JobType({ name: 'validated' })
    class Validated implements JobHandler<{ n: number }> {
      execute(ctx: JobContext<{ n: number }>): number {
        return ctx.params.n;
      }
    }
    const app = await boot([Validated]);
    expect((await app.run(Validated, { n: 5 })).result).toBe(5);
  });
});

describe('global enhancers of the host', () => {
  it('are for requests: no job meets them', async () => {
    const note = (what: string) => (): never => {
      throw new Error(`${what} met a job`);
    };
    const app = await boot(
      [Guarded],
      [
        Limits,
        { provide: APP_GUARD, useValue: { canActivate: note('guard') } },
        { provide: APP_INTERCEPTOR, useValue: { intercept: note('interceptor') } },
        { provide: APP_PIPE, useValue: { transform: note('pipe') } },
        { provide: APP_FILTER, useValue: { catch: note('filter') } },
      ],
    );
    expect((await app.run(Guarded, 1)).result).toEqual({ result: 2 });
    expect((await app.run(Guarded, 9)).error).toContain('Forbidden');
  });
});

describe('enhancers of a scope', () => {
  let made = 0;

  @Injectable({ scope: Scope.REQUEST })
  class PerJob implements CanActivate {
    readonly serial = ++made;
    canActivate(): boolean {
      seen.push(`request ${this.serial}`);
      return true;
    }
  }

  @Injectable({ scope: Scope.TRANSIENT })
  class PerHandler implements CanActivate {
    readonly serial = ++made;
    canActivate(): boolean {
      seen.push(`transient ${this.serial}`);
      return false;
    }
  }

  it('request-scoped are made for each job', async () => {
    @UseGuards(PerJob)
    @JobType({ name: 'per-job' })
    class Handler implements JobHandler {
      readonly serial = ++made;
      execute(): number {
        return this.serial;
      }
    }
    const app = await boot([Handler]);
    const results = [await app.run(Handler), await app.run(Handler)].map((job) => job.result);
    expect(new Set(results).size).toBe(2);
    expect(new Set(seen).size).toBe(2);
  });

  it.each([Scope.DEFAULT, Scope.REQUEST, Scope.TRANSIENT])(
    'transient ones guard a handler of scope %s',
    async (scope) => {
      @UseGuards(PerHandler)
      @JobType({ name: 'per-handler' })
      @Injectable({ scope })
      class Handler implements JobHandler {
        execute(): void {
          seen.push('called');
        }
      }
      const app = await boot([Handler]);
      expect((await app.run(Handler)).status).toBe('failed');
      expect(seen).toHaveLength(1);
    },
  );

  it.each([Scope.REQUEST, Scope.TRANSIENT])(
    'default ones guard a handler of scope %s',
    async (scope) => {
      @UseGuards(SmallOnly)
      @JobType({ name: 'scoped' })
      @Injectable({ scope })
      class Handler implements JobHandler {
        execute(): string {
          return 'done';
        }
      }
      const app = await boot([Handler], [Limits]);
      expect((await app.run(Handler, 1)).result).toBe('done');
      expect((await app.run(Handler, 7)).status).toBe('failed');
    },
  );
});

describe('boot refuses a handler whose enhancers Nest would leave out', () => {
  it.each<[string, Provider]>([
    ['by a factory', { provide: Guarded, useFactory: () => new Guarded() }],
    ['by value', { provide: Guarded, useValue: new Guarded() }],
    ['under another token', { provide: 'other', useClass: Guarded }],
  ])('%s', async (_how, provider) => {
    await expect(boot([], [provider, Limits])).rejects.toThrow(/SmallOnly.*Guarded/);
  });
});
