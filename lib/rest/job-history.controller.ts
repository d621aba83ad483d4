import { Get, Inject } from '@nestjs/common';
import { map } from 'rxjs';
import type { JobEvent } from '../model/job.js';
import { isFinal } from '../model/job-status.js';
import { JobsService } from '../services/jobs.service.js';
import type { Call } from './call.js';
import { EventStream, type StreamEvent } from './event-stream.js';
import { LAST_EVENT_ID, lastEventId } from './last-event-id.js';
import { component, Describe } from './operation.js';
import { JOB_ID, READ_LOGS } from './schemas/requests.js';
import { dependenciesToWire } from './wire/dependencies.js';
import { eventToWire, logLineToWire, runToWire } from './wire/job.js';
import type { LogsQuery } from './wire/requests.js';

const EVENTS = {
  description: 'the present state, and what comes until the job has ended',
  mediaType: 'text/event-stream',
  schema: { type: 'string', description: 'each `data:` is a JobEvent' },
};

/** What happened to a job, and what happens. */
export abstract class JobHistoryController {
  constructor(@Inject(JobsService) private readonly jobs: JobsService) {}

  @Get(':id/runs')
  @Describe({
    id: 'listJobRuns',
    summary: 'The runs of a job, the newest last',
    params: JOB_ID,
    answers: [[200, component('JobRunList', 'its runs')]],
    errors: [404, 503],
  })
  async runs(call: Call): Promise<object> {
    const runs = await this.jobs.runs(call.jobId, call.scope);
    return { runs: runs.map((run) => runToWire(run)) };
  }

  @Get(':id/dependencies')
  @Describe({
    id: 'listJobDependencies',
    summary: 'What a job depends on, and what depends on it',
    params: JOB_ID,
    answers: [[200, component('JobDependencies', 'the jobs, and why it was not run')]],
    errors: [404, 503],
  })
  async dependencies(call: Call): Promise<object> {
    return dependenciesToWire(await this.jobs.dependencies(call.jobId, call.scope));
  }

  @Get(':id/logs')
  @Describe({
    id: 'readJobLogs',
    summary: 'The log of a job',
    params: JOB_ID,
    query: READ_LOGS,
    answers: [[200, component('JobLogPage', 'lines of its log')]],
    errors: [404, 503],
  })
  async logs(call: Call<unknown, LogsQuery>): Promise<object> {
    const page = await this.jobs.logs(call.jobId, { ...call.query, ...call.scope });
    return { lines: page.lines.map((line) => logLineToWire(line)), next_after: page.nextAfter };
  }

  @Get(':id/events')
  @Describe({
    id: 'watchJob',
    summary: 'Follow a job until it has ended',
    params: JOB_ID,
    description:
      'Server-sent events: `id` is the sequence, `event` the type. A client that comes back with Last-Event-ID gets what came since.',
    headers: { 'Last-Event-ID': LAST_EVENT_ID },
    anyQuery: true,
    answers: [
      [200, EVENTS],
      [204, { description: 'the job has ended, and the client knows' }],
    ],
    errors: [404, 503],
  })
  async events(call: Call): Promise<EventStream | undefined> {
    const after = lastEventId(call.header('last-event-id'));
    const job = await this.jobs.get(call.jobId, call.scope);
    if (after !== undefined && after >= job.sequence && isFinal(job.status)) {
      // The one answer after which a browser does not come back.
      call.answer(204);
      return undefined;
    }
    const from = after === undefined ? call.scope : { ...call.scope, after };
    return new EventStream((whenReady) =>
      this.jobs.watch(job.id, { ...from, whenReady }).pipe(map(toStreamEvent)),
    );
  }
}

function toStreamEvent(event: JobEvent): StreamEvent {
  return { id: event.sequence, type: event.type, data: eventToWire(event) };
}
