import path from 'node:path';
import { JobType, UnrecoverableJobError, type JobContext, type JobHandler } from 'nestjs-jobs';
import { CompactParams } from './compact.params.js';
import { inWorker, type Compacted } from './compact-thread.js';

@JobType({
  group: 'maintenance',
  name: 'compact',
  description: 'Checks a SQLite database file and gives back the space that it does not use',
  params: CompactParams,
  maxRetries: 3,
  retryDelay: '10s',
})
export class CompactHandler implements JobHandler<CompactParams, Compacted> {
  async execute(ctx: JobContext<CompactParams>): Promise<Compacted> {
    const file = path.resolve(ctx.params.file);
    const reply = await inWorker(file, ctx.signal, ({ done, of, step }) => {
      ctx.log.info(step);
      ctx.progress(done / of, step);
    });
    if ('error' in reply) {
      const message = `${file}: ${reply.error}`;
      throw reply.isBusy ? new Error(message) : new UnrecoverableJobError(message);
    }
    ctx.log.info(`${file}: ${reply.before} → ${reply.after} bytes`);
    return reply;
  }
}
