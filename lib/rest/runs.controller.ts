import { Get, Inject } from '@nestjs/common';
import { WorkersService } from '../services/workers.service.js';
import type { Call } from './call.js';
import { component, Describe } from './operation.js';
import { LIST_RUNS } from './schemas/requests.js';
import { runToWire } from './wire/job.js';
import { runsQuery, type ListRunsQuery } from './wire/requests.js';

/** The runs that are under way, of the caller's tenant. */
export abstract class RunsController {
  constructor(@Inject(WorkersService) private readonly workers: WorkersService) {}

  @Get()
  @Describe({
    id: 'listRuns',
    summary: 'List the runs that workers hold',
    description: 'Of the jobs enqueued first. The runs of one job, ended ones too: `listJobRuns`.',
    query: LIST_RUNS,
    answers: [[200, component('JobRunPage', 'a page of runs')]],
    errors: [503],
  })
  async list(call: Call<unknown, ListRunsQuery>): Promise<object> {
    const found = await this.workers.runs({ ...runsQuery(call.query), ...call.scope });
    return {
      page: found.page,
      limit: found.limit,
      total: found.total,
      total_is_exact: true,
      order: 'job_id',
      next_cursor: found.nextCursor,
      runs: found.runs.map((run) => runToWire(run)),
    };
  }
}
