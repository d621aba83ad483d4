import { Get, Inject } from '@nestjs/common';
import type { JsonObject } from '../model/json.js';
import { StatsService } from '../services/stats.service.js';
import type { Call } from './call.js';
import { component, Describe } from './operation.js';
import { statsToWire } from './wire/catalog.js';

/** Counts over the caller's jobs. */
export abstract class StatsController {
  constructor(@Inject(StatsService) private readonly stats: StatsService) {}

  @Get()
  @Describe({
    id: 'getJobsStats',
    summary: 'Counts of jobs by status, type and queue',
    description: 'Counts go to 10,000 a cell and are a second old at most.',
    answers: [[200, component('JobsStats', 'the counts')]],
    errors: [503],
  })
  async get(call: Call): Promise<JsonObject> {
    return statsToWire(await this.stats.stats(call.scope));
  }
}

/** Whether this process can do its work, for probes: it shows nothing of any tenant. */
export abstract class JobsHealthController {
  constructor(@Inject(StatsService) private readonly stats: StatsService) {}

  @Get()
  @Describe({
    id: 'getJobsHealth',
    summary: 'Whether jobs are accepted and run',
    anonymous: true,
    anyQuery: true,
    answers: [
      [200, component('JobsHealth', 'ok, or degraded')],
      [503, component('JobsHealth', 'down')],
    ],
  })
  async get(call: Call): Promise<object> {
    const health = await this.stats.health();
    call.answer(health.status === 'down' ? 503 : 200);
    return health;
  }
}
