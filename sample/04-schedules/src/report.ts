import { Subject } from 'rxjs';
import { JobSchedule, JobType, type JobContext, type JobHandler } from 'nestjs-jobs';

interface Period {
  period: string;
}

@JobType({ name: 'report' })
@JobSchedule({
  name: 'nightly report',
  cron: '30 2 * * *',
  timeZone: 'Europe/Berlin',
  params: { period: 'day' },
})
export class Report implements JobHandler<Period> {
  /** The periods of the reports that were written in this application. */
  readonly written$ = new Subject<string>();

  execute(ctx: JobContext<Period>): void {
    console.log(`report      of the ${ctx.params.period}`);
    this.written$.next(ctx.params.period);
  }
}
