import { rename } from 'node:fs/promises';
import path from 'node:path';
import { JobType, type JobContext, type JobHandler } from 'nestjs-jobs';
import { FetchParams } from './fetch.params.js';
import { transfer } from './transfer.js';
import { checkTarget, verify } from './verify.js';

export interface FetchResult {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

@JobType({
  group: 'downloads',
  name: 'fetch',
  description: 'Downloads a URL to a file; a broken transfer goes on where it broke',
  params: FetchParams,
  timeout: '6h',
  maxRetries: 5,
  retryDelay: '1s',
  backoff: { type: 'exponential', maxDelay: '5m', jitter: 0.2 },
  retryOnTimeout: false,
})
export class FetchHandler implements JobHandler<FetchParams, FetchResult> {
  async execute(ctx: JobContext<FetchParams>): Promise<FetchResult> {
    const target = path.resolve(ctx.params.path);
    const part = `${target}.part`;
    await checkTarget(target);
    const bytes = await transfer(ctx.params, part, {
      signal: ctx.signal,
      validator: ctx.state,
      onStart: async (validator, offset) => {
        ctx.log.info(offset > 0 ? `going on at byte ${offset}` : 'starting at the first byte');
        await ctx.checkpoint(validator);
      },
      onBytes: (completed, total) => ctx.progress({ completed, total }),
    });
    const sha256 = await verify(part, { ...ctx.params, bytes, signal: ctx.signal });
    await rename(part, target);
    return { path: target, bytes, sha256 };
  }
}
