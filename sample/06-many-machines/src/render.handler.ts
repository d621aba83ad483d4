import { setTimeout as pause } from 'node:timers/promises';
import { JobType, type JobContext, type JobHandler, type JobProgress } from 'nestjs-jobs';

export interface Film {
  frames: number;
}

/** Goes on after the frame that was saved last, on whichever machine it is. */
@JobType({ name: 'render', description: 'Renders a film frame by frame', suspendable: true })
export class Render implements JobHandler<Film> {
  async *execute(ctx: JobContext<Film>): AsyncGenerator<JobProgress> {
    const total = ctx.params.frames;
    const saved = Number(ctx.state ?? 0);
    for (let completed = saved + 1; completed <= total; completed++) {
      await pause(100, undefined, { signal: ctx.signal });
      await ctx.checkpoint(completed);
      yield { completed, total, message: `frame ${completed} by process ${process.pid}` };
    }
  }
}
