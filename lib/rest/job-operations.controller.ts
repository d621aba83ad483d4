import { Inject, Post } from '@nestjs/common';
import { JobsService } from '../services/jobs.service.js';
import type { Call } from './call.js';
import { component, Describe, type Operation } from './operation.js';
import { FAIL_JOB, JOB_ID, SEND_SIGNAL, SIGNAL_NAME, WITH_REASON } from './schemas/requests.js';
import { jobToWire, type WireJob } from './wire/job.js';
import type { FailJobBody, ReasonBody, SignalBody } from './wire/requests.js';

function operation(
  verb: string,
  summary: string,
  body = WITH_REASON,
  moreErrors: readonly number[] = [],
): Operation {
  return {
    id: `${verb}Job`,
    summary,
    params: JOB_ID,
    body,
    answers: [[202, component('Job', 'the job')]],
    errors: [404, 409, ...moreErrors, 423, 503],
  };
}

/** What operators do to a job; the matrix of docs/lifecycle.md says when. */
export abstract class JobOperationsController {
  constructor(@Inject(JobsService) private readonly jobs: JobsService) {}

  @Post(':id/cancel')
  @Describe(operation('cancel', 'Cancel a job'))
  async cancel(call: Call<ReasonBody>): Promise<WireJob> {
    return jobToWire(await this.jobs.cancel(call.jobId, call.reasoned()));
  }

  @Post(':id/suspend')
  @Describe(operation('suspend', 'Suspend a job of a suspendable type'))
  async suspend(call: Call<ReasonBody>): Promise<WireJob> {
    return jobToWire(await this.jobs.suspend(call.jobId, call.reasoned()));
  }

  @Post(':id/resume')
  @Describe(operation('resume', 'Resume a suspended job'))
  async resume(call: Call<ReasonBody>): Promise<WireJob> {
    return jobToWire(await this.jobs.resume(call.jobId, call.reasoned()));
  }

  @Post(':id/retry')
  @Describe(operation('retry', 'Run a failed, timed out or canceled job again'))
  async retry(call: Call<ReasonBody>): Promise<WireJob> {
    return jobToWire(await this.jobs.retry(call.jobId, call.reasoned()));
  }

  @Post(':id/skip')
  @Describe(operation('skip', 'Skip a job that has not started'))
  async skip(call: Call<ReasonBody>): Promise<WireJob> {
    return jobToWire(await this.jobs.skip(call.jobId, call.reasoned()));
  }

  @Post(':id/fail')
  @Describe(operation('fail', 'Fail a job that has not started', FAIL_JOB, [413]))
  async fail(call: Call<FailJobBody>): Promise<WireJob> {
    const { result } = call.body;
    const options = { ...call.reasoned(), ...(result === undefined ? {} : { result }) };
    return jobToWire(await this.jobs.fail(call.jobId, options));
  }

  @Post(':id/signals/:name')
  @Describe({
    id: 'signalJob',
    summary: 'Send a job a signal, which its handler waits for or will wait for',
    params: { ...JOB_ID, ...SIGNAL_NAME },
    body: SEND_SIGNAL,
    answers: [[202, component('Job', 'the job')]],
    errors: [404, 409, 413, 503],
  })
  async signal(call: Call<SignalBody>): Promise<WireJob> {
    const { payload } = call.body;
    return jobToWire(await this.jobs.signal(call.jobId, call.param('name'), payload, call.scope));
  }
}
