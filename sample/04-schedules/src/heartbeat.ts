import { Injectable } from '@nestjs/common';
import { CronExpression, JobCron, type JobContext } from 'nestjs-jobs';

/** Any provider will do: the method is a job type, once per slot in the whole cluster. */
@Injectable()
export class Heartbeat {
  @JobCron(CronExpression.EVERY_SECOND, { name: 'heartbeat', maxRetries: 1 })
  beat(ctx: JobContext): void {
    console.log(`heartbeat   job ${ctx.job.id.slice(0, 13)} of process ${process.pid}`);
  }
}
