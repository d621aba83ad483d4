import { JobDependencyEntity } from './job-dependency.entity.js';
import { JobExtrasEntity } from './job-extras.entity.js';
import { JobEntity } from './job.entity.js';
import { JobDeliveryEntity } from './job-delivery.entity.js';
import { JobEventEntity } from './job-event.entity.js';
import { JobWebhookEntity } from './job-webhook.entity.js';
import { JobGroupEntity } from './job-group.entity.js';
import { JobLogEntity } from './job-log.entity.js';
import { JobSignalEntity } from './job-signal.entity.js';
import { JobStepEntity } from './job-step.entity.js';
import { JobScheduleEntity } from './job-schedule.entity.js';
import { JobTypeEntity } from './job-type.entity.js';
import { JobUniqueEntity } from './job-unique.entity.js';
import { JobQueueEntity } from './queue.entity.js';
import { JobRunEntity } from './run.entity.js';
import { JobWorkerEntity } from './worker.entity.js';

/** The entities that are registered with the host's data source. */
export const JOBS_ENTITIES = [
  JobEntity,
  JobRunEntity,
  JobTypeEntity,
  JobGroupEntity,
  JobQueueEntity,
  JobWorkerEntity,
  JobLogEntity,
  JobExtrasEntity,
  JobDependencyEntity,
  JobStepEntity,
  JobSignalEntity,
  JobScheduleEntity,
  JobUniqueEntity,
  JobEventEntity,
  JobWebhookEntity,
  JobDeliveryEntity,
];
