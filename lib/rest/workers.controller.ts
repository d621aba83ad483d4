import { Get, Inject } from '@nestjs/common';
import { WorkersService } from '../services/workers.service.js';
import type { Call } from './call.js';
import { component, Describe } from './operation.js';
import { pageOfNames } from './page.js';
import { LIST_WORKERS, WORKER_ID } from './schemas/requests.js';
import type { ListWorkersQuery } from './wire/requests.js';
import { workerToWire } from './wire/worker.js';

/** The processes that take jobs, for operators: they serve every tenant. */
export abstract class WorkersController {
  constructor(@Inject(WorkersService) private readonly workers: WorkersService) {}

  @Get()
  @Describe({
    id: 'listWorkers',
    summary: 'List the processes that take jobs',
    description:
      'For operators. A worker that stops in order leaves the list at once, one that died an hour after it was last heard.',
    query: LIST_WORKERS,
    answers: [[200, component('JobWorkerList', 'a page of workers')]],
    errors: [503],
  })
  async list(call: Call<unknown, ListWorkersQuery>): Promise<object> {
    call.requireOperator('The list of workers');
    const names = await this.workers.ids({ olderThan: (call.query.older_than_sec ?? 0) * 1000 });
    return pageOfNames({ member: 'workers', order: 'id', names }, call.query, async (ids) => {
      const workers = await this.workers.list({ ids });
      return workers.toSorted((a, b) => (a.id < b.id ? -1 : 1)).map(workerToWire);
    });
  }

  @Get(':id')
  @Describe({
    id: 'getWorker',
    summary: 'Get a process that takes jobs, and what it runs',
    description: 'For operators.',
    params: WORKER_ID,
    answers: [[200, component('JobWorker', 'the worker')]],
    errors: [404, 503],
  })
  async get(call: Call): Promise<object> {
    call.requireOperator('What a worker does');
    return workerToWire(await this.workers.get(call.param('id')));
  }
}
