import { Delete, Get, Inject, Patch, Post } from '@nestjs/common';
import { isJobsError } from '../model/errors.js';
import { JobsService } from '../services/jobs.service.js';
import { acceptBatch, acceptFlow, flowBody, outcomeToWire } from './batch.js';
import type { Call } from './call.js';
import { Closing } from './closing.js';
import { IDEMPOTENCY_KEY, refuseIdempotencyKey, withIdempotencyKey } from './idempotency-key.js';
import { component, Describe } from './operation.js';
import {
  CREATE_FLOW,
  CREATE_JOB,
  CREATE_JOBS,
  DELETE_JOB,
  JOB_ID,
  LIST_JOBS,
  UPDATE_JOB,
  WAIT,
} from './schemas/requests.js';
import { jobPageToWire, jobToWire, type WireJob } from './wire/job.js';
import {
  enqueueOptions,
  jobPatch,
  jobQuery,
  type CreateFlowBody,
  type CreateJobBody,
  type CreateJobsBody,
  type ListJobsQuery,
  type UpdateJobBody,
} from './wire/requests.js';

const JOB = component('Job', 'the job');
const LOCATION = { Location: { type: 'string', description: 'where the job is' } };

/** Jobs: making, finding, changing and awaiting them. */
export abstract class JobsController {
  constructor(
    @Inject(JobsService) private readonly jobs: JobsService,
    @Inject(Closing) private readonly closing: Closing,
  ) {}

  @Post()
  @Describe({
    id: 'createJob',
    summary: 'Enqueue a job',
    headers: { 'Idempotency-Key': IDEMPOTENCY_KEY },
    body: CREATE_JOB,
    answers: [
      [202, { ...component('Job', 'created'), headers: LOCATION }],
      [
        200,
        {
          ...component('Job', 'there already, for this idempotency key or unique key'),
          headers: LOCATION,
        },
      ],
    ],
    errors: [409, 413, 423, 503],
  })
  async create(call: Call<CreateJobBody>): Promise<WireJob> {
    const body = withIdempotencyKey(call.body, call.singleHeader('Idempotency-Key'));
    const job = await this.jobs.enqueue(body.type, body.params, enqueueOptions(body, call.caller));
    call.answer(job.outcome === 'created' ? 202 : 200, { Location: `${call.path}/${job.id}` });
    return jobToWire(job);
  }

  @Post('batch')
  @Describe({
    id: 'createJobs',
    summary: 'Enqueue many jobs',
    body: CREATE_JOBS,
    answers: [[202, component('JobBatchResult', 'an outcome for each job, in their order')]],
    errors: [409, 413, 423, 503],
  })
  async createMany(call: Call<CreateJobsBody>): Promise<object> {
    refuseIdempotencyKey(call.singleHeader('Idempotency-Key'));
    const { jobs, on_conflict: onConflict } = acceptBatch(call);
    const items = jobs.map((body, index) => ({
      ...enqueueOptions(body, call.caller, `jobs.${index}.`),
      type: body.type,
      params: body.params,
    }));
    const outcomes = await this.jobs.enqueueMany(items, { onConflict });
    return { jobs: outcomes.map(outcomeToWire) };
  }

  @Post('flow')
  @Describe({
    id: 'createFlow',
    summary: 'Enqueue a graph of jobs that depend on each other',
    description:
      'All in one transaction. The map of jobs may also be the body itself; an empty one is answered with no jobs. ' +
      'What one job is refused for names it in the member `key`.',
    body: CREATE_FLOW,
    reads: flowBody,
    answers: [[202, component('JobFlow', 'the jobs by their keys')]],
    errors: [409, 413, 423, 503],
  })
  async createFlow(call: Call<CreateFlowBody>): Promise<object> {
    refuseIdempotencyKey(call.singleHeader('Idempotency-Key'));
    const flow = acceptFlow(call);
    const jobs = await this.jobs.enqueueFlow(
      Object.fromEntries(
        Object.entries(flow).map(([key, body]) => [
          key,
          {
            ...enqueueOptions(body, call.caller, `jobs.${key}.`),
            type: body.type,
            params: body.params,
          },
        ]),
      ),
    );
    return {
      jobs: Object.fromEntries(Object.entries(jobs).map(([key, job]) => [key, jobToWire(job)])),
    };
  }

  @Get()
  @Describe({
    id: 'listJobs',
    summary: 'List jobs',
    query: LIST_JOBS,
    answers: [[200, component('JobList', 'a page of jobs')]],
    errors: [503],
  })
  async list(call: Call<unknown, ListJobsQuery>): Promise<object> {
    return jobPageToWire(await this.jobs.list(jobQuery(call.query, call.caller.tenantId)));
  }

  @Get(':id')
  @Describe({
    id: 'getJob',
    summary: 'Get a job',
    params: JOB_ID,
    answers: [[200, JOB]],
    errors: [404, 503],
  })
  async get(call: Call): Promise<WireJob> {
    return jobToWire(await this.jobs.get(call.jobId, call.scope));
  }

  @Patch(':id')
  @Describe({
    id: 'updateJob',
    summary: 'Change a job that has not ended',
    params: JOB_ID,
    body: UPDATE_JOB,
    answers: [[200, JOB]],
    errors: [404, 409, 423, 503],
  })
  async update(call: Call<UpdateJobBody>): Promise<WireJob> {
    return jobToWire(await this.jobs.update(call.jobId, jobPatch(call.body), call.acted()));
  }

  @Delete(':id')
  @Describe({
    id: 'deleteJob',
    summary: 'Delete a job that is not at work',
    params: JOB_ID,
    query: DELETE_JOB,
    answers: [[204, { description: 'deleted' }]],
    errors: [404, 409, 423, 503],
  })
  async delete(call: Call<unknown, { cascade?: 'true' | 'false' }>): Promise<void> {
    await this.jobs.delete(call.jobId, { ...call.acted(), cascade: call.query.cascade === 'true' });
  }

  @Get(':id/wait')
  @Describe({
    id: 'waitForJob',
    summary: 'Wait until a job has ended',
    params: JOB_ID,
    query: WAIT,
    answers: [
      [200, component('Job', 'the job, ended')],
      [202, component('Job', 'the job, which has not ended in time and goes on')],
    ],
    errors: [404, 503],
  })
  async wait(call: Call<unknown, { timeout_sec?: number }>): Promise<WireJob> {
    const { timeout_sec: seconds = 30 } = call.query;
    const signal = AbortSignal.any([call.clientGone(), this.closing.signal]);
    const options = { ...call.scope, timeout: Math.round(seconds * 1000), signal };
    const ended = await this.jobs.wait(call.jobId, options).catch(unlessOver(signal));
    call.answer(ended === undefined ? 202 : 200);
    return jobToWire(ended ?? (await this.jobs.get(call.jobId, call.scope)));
  }
}

/** Nothing, when the time is over or nobody waits any more. */
function unlessOver(signal: AbortSignal): (thrown: unknown) => undefined {
  return (thrown) => {
    if (signal.aborted || (isJobsError(thrown) && thrown.code === 'not_finished')) {
      return undefined;
    }
    throw thrown;
  };
}
