export { JobType } from './decorators/job-type.decorator.js';
export { JobCron, type CronTime, type JobCronOptions } from './decorators/job-cron.decorator.js';
export { JobSchedule, type JobScheduleOptions } from './decorators/job-schedule.decorator.js';
export { InjectQueueWorker } from './decorators/inject.decorators.js';
export { currentJobContext } from './engine/run-storage.js';
export type { JobPatch } from './engine/operations.js';
export { JOBS_ENTITIES } from './entities/index.js';
export { JobDependencyEntity } from './entities/job-dependency.entity.js';
export { JobEntity, type JobField } from './entities/job.entity.js';
export { JobExtrasEntity } from './entities/job-extras.entity.js';
export { JobDeliveryEntity } from './entities/job-delivery.entity.js';
export { JobEventEntity } from './entities/job-event.entity.js';
export { JobWebhookEntity } from './entities/job-webhook.entity.js';
export { JobGroupEntity } from './entities/job-group.entity.js';
export { JobLogEntity } from './entities/job-log.entity.js';
export { JobSignalEntity } from './entities/job-signal.entity.js';
export { JobStepEntity } from './entities/job-step.entity.js';
export { JobScheduleEntity } from './entities/job-schedule.entity.js';
export { JobTypeEntity } from './entities/job-type.entity.js';
export { JobUniqueEntity } from './entities/job-unique.entity.js';
export { JobQueueEntity } from './entities/queue.entity.js';
export { JobRunEntity } from './entities/run.entity.js';
export { JobWorkerEntity } from './entities/worker.entity.js';
export { migrationSql, type MigrationSqlOptions } from './jobs.migration-sql.js';
export {
  JobsModule,
  type JobsModuleAsyncOptions,
  type JobsModuleExtras,
  type JobsModuleLateOptions,
  type JobsOptionsFactory,
} from './jobs.module.js';
export type {
  ApiOptions,
  ApiSection,
  DatabaseOptions,
  GraceOptions,
  JobDefaults,
  JobGroupOptions,
  JobLogOptions,
  JobsIdentity,
  JobsModuleOptions,
  LeaseOptions,
  LimitOptions,
  LogFileOptions,
  QueueOptions,
  RetentionOptions,
  WebhookEndpointOptions,
  WebhooksOptions,
} from './jobs.options.js';
export { getQueueWorkerToken } from './jobs.tokens.js';
export type {
  DependencyOutcome,
  Dependent,
  FailureCause,
  JobDependencies,
  JobDependency,
  OnFailure,
} from './model/dependencies.js';
export type { Duration } from './model/duration.js';
export type { DependsOn, EnqueueManyOutcome, EnqueueOptions } from './model/enqueue-options.js';
export {
  isJobsError,
  JobsError,
  type FieldError,
  type JobsErrorCode,
  type JobsErrorOptions,
} from './model/errors.js';
export type { EnqueuedFlow, FlowJob, JobFlow } from './model/flow.js';
export type { ConcurrencyLimit, LimitBy, LimitedJob, LimitKey, RateLimit } from './model/limits.js';
export {
  LOG_LEVELS,
  type EnqueuedJob,
  type EnqueueOutcome,
  type InitializingJob,
  type Job,
  type JobEvent,
  type JobKind,
  type JobLogLine,
  type JobProgressEvent,
  type JobRun,
  type LogLevel,
  type RetryPolicy,
  type RunOutcome,
  type WaitingFor,
} from './model/job.js';
export {
  canTransition,
  FINAL_STATUSES,
  isFinal,
  JOB_STATUSES,
  type FinalStatus,
  type JobStatus,
} from './model/job-status.js';
export type {
  Class,
  EnqueueItem,
  HandlerResult,
  JobContext,
  JobLogger,
  RescheduleOptions,
  JobHandler,
  JobTypeOptions,
  JobTypeRef,
  OnJobInit,
  OnJobResume,
  OnJobStateUpdate,
  OnJobSuspend,
  ParamsInput,
  ParamsOf,
  ResultOf,
  WaitForSignalOptions,
} from './model/job-type.js';
export type { JsonObject, JsonValue } from './model/json.js';
export type { JobProgress } from './model/progress.js';
export type { JobPage, JobQuery, LogQuery, OrderField } from './model/query.js';
export type { Backoff, BackoffType } from './model/retry-policy.js';
export {
  SCHEDULE_MISFIRES,
  SCHEDULE_OVERLAPS,
  type Schedule,
  type ScheduleInput,
  type ScheduleJobOptions,
  type ScheduleMisfire,
  type ScheduleOverlap,
  type ScheduleTiming,
  type UpsertedSchedule,
} from './model/schedule.js';
export { CronExpression } from './model/schedule-expressions.js';
export {
  JobAbortError,
  RetryLater,
  UnrecoverableJobError,
  type JobAbortCode,
} from './model/signals.js';
export type { UniqueConflict, UniqueOptions, UniqueUntil } from './model/unique.js';
export {
  WEBHOOK_EVENTS,
  type Webhook,
  type WebhookAnswer,
  type WebhookDelivery,
  type WebhookEvent,
  type WebhookInput,
  type WebhookPatch,
  type WebhookWithSecret,
} from './model/webhook.js';
export { CatalogService, type JobGroupInfo, type JobTypeInfo } from './services/catalog.service.js';
export { JobsService } from './services/jobs.service.js';
export { QueueWorker } from './services/queue-worker.js';
export { QueuesService, type QueueInfo } from './services/queues.service.js';
export {
  SchedulesService,
  type DeleteScheduleOptions,
  type UpsertScheduleOptions,
} from './services/schedules.service.js';
export type { ReasonOptions, Scope } from './services/scope.js';
export {
  StatsService,
  type HealthCheck,
  type JobsHealth,
  type JobsStats,
} from './services/stats.service.js';
export { WebhooksService, type ListDeliveriesOptions } from './services/webhooks.service.js';
export {
  WorkersService,
  type InterruptRunsOptions,
  type ListRunsOptions,
  type ListWorkersOptions,
  type RunPage,
  type WorkerInfo,
} from './services/workers.service.js';
