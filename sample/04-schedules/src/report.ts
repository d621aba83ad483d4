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
  execute(ctx: JobContext<Period>): void {
    console.log(`report      of the ${ctx.params.period}`);
  }
}
