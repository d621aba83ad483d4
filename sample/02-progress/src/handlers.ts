import { setTimeout as pause } from 'node:timers/promises';
import { JobType, type JobContext, type JobHandler, type JobProgress } from 'nestjs-jobs';
import { interval, map, take, type Observable } from 'rxjs';

export interface Pages {
  pages: number;
}

/** An Observable: what it emits is progress, and the job completes when it does. */
@JobType({ name: 'scan', description: 'Reports a fraction' })
export class Scan implements JobHandler<Pages> {
  execute(ctx: JobContext<Pages>): Observable<number> {
    const { pages } = ctx.params;
    return interval(100).pipe(
      take(pages),
      map((page) => (page + 1) / pages),
    );
  }
}

/** An async iterable: the same with `yield`, here with counts and a message. */
@JobType({ name: 'print', description: 'Reports counts and says what it does' })
export class Print implements JobHandler<Pages> {
  async *execute(ctx: JobContext<Pages>): AsyncGenerator<JobProgress> {
    const total = ctx.params.pages;
    for (let completed = 1; completed <= total; completed++) {
      await pause(100, undefined, { signal: ctx.signal });
      yield { completed, total, message: `page ${completed}` };
    }
  }
}
