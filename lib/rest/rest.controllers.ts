import type { Provider, Type } from '@nestjs/common';
import type { ApiOptions, ApiSection } from '../jobs.options.js';
import { JobsError } from '../model/errors.js';
import { BootNotes } from './boot-notes.js';
import { JobGroupsController, JobTypesController } from './catalog.controller.js';
import { Closing } from './closing.js';
import { controllerClass, type Routes } from './controller-class.js';
import { EventStreams } from './event-stream.js';
import { hostGuard, hostInterceptor } from './host-enhancers.js';
import { JobHistoryController } from './job-history.controller.js';
import { JobOperationsController } from './job-operations.controller.js';
import { JobsController } from './jobs.controller.js';
import { documentControllers } from './openapi.js';
import { QueuesController } from './queues.controller.js';
import { RunsController } from './runs.controller.js';
import { SchedulesController } from './schedules.controller.js';
import { JobsHealthController, StatsController } from './stats.controller.js';
import { ValidationLoader } from './validation.js';
import { WebhooksController } from './webhooks.controller.js';
import { WorkersController } from './workers.controller.js';

/** One class of routes, and the path they are below. */
interface Mount {
  readonly routes: Routes;
  readonly path: string;
  /** Another path of routes that are documented under the first. */
  readonly isAlias?: boolean;
}

/** The routes of each section of `api.only`. */
export const SECTIONS: Readonly<Record<ApiSection, readonly Mount[]>> = {
  jobs: [
    { routes: JobsController, path: 'jobs' },
    { routes: JobOperationsController, path: 'jobs' },
    { routes: JobHistoryController, path: 'jobs' },
  ],
  catalog: [
    { routes: JobTypesController, path: 'job-types' },
    { routes: JobTypesController, path: 'job_types', isAlias: true },
    { routes: JobGroupsController, path: 'job-groups' },
    { routes: JobGroupsController, path: 'job_groups', isAlias: true },
  ],
  queues: [{ routes: QueuesController, path: 'queues' }],
  schedules: [{ routes: SchedulesController, path: 'schedules' }],
  webhooks: [{ routes: WebhooksController, path: 'webhooks' }],
  workers: [
    { routes: WorkersController, path: 'workers' },
    { routes: RunsController, path: 'runs' },
  ],
  stats: [
    { routes: StatsController, path: 'stats' },
    { routes: JobsHealthController, path: 'health/jobs' },
  ],
};

/** What a module adds to have the REST interface. */
export interface RestParts {
  readonly controllers: Type[];
  readonly providers: Provider[];
}

/**
 * The controllers of one application, and the providers they need in the same module. No `APP_*`
 * provider is among them: nothing of the host's own routes changes.
 *
 * @throws JobsError `invalid_options` for a section that does not exist
 */
export function restParts(api: ApiOptions): RestParts {
  // Once for all controllers, so that a class of the host has one instance.
  const hosted: ApiOptions = {
    ...api,
    guards: (api.guards ?? []).map(hostGuard),
    interceptors: (api.interceptors ?? []).map(hostInterceptor),
  };
  const sections = api.only ?? Object.keys(SECTIONS);
  const controllers = sections.flatMap((tag) =>
    mountsOf(tag).map(({ routes, path, isAlias = false }) => ({
      type: controllerClass(routes, path, hosted),
      routes,
      tag,
      isAlias,
    })),
  );
  return {
    controllers: controllers.map(({ type }) => type),
    providers: [
      Closing,
      EventStreams,
      BootNotes,
      ValidationLoader,
      documentControllers(controllers, api),
    ],
  };
}

function mountsOf(section: string): readonly Mount[] {
  if (!Object.hasOwn(SECTIONS, section)) {
    const known = Object.keys(SECTIONS).join(', ');
    throw new JobsError(
      'invalid_options',
      `api.only: there is no "${section}" in this version. Use any of ${known}.`,
    );
  }
  return SECTIONS[section as ApiSection];
}
