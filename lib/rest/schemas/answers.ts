import { ON_FAILURE } from '../../model/dependencies.js';
import { JOB_STATUSES } from '../../model/job-status.js';
import { LOG_LEVELS } from '../../model/job.js';
import {
  ANY_JSON,
  answerOf,
  type ComponentName,
  described,
  INSTANT,
  type JsonSchema,
  nullable,
  ref,
  SECONDS,
  UUID,
} from './schema.js';
import { SCHEDULE, SCHEDULE_PREVIEW } from './schedules.js';
import { WEBHOOK_COMPONENTS } from './webhooks.js';

const TEXT: JsonSchema = { type: 'string' };
const COUNT: JsonSchema = { type: 'integer', minimum: 0 };
const STATUS: JsonSchema = { type: 'string', enum: JOB_STATUSES };
const OBJECT: JsonSchema = { type: 'object', additionalProperties: true };
const FRACTION: JsonSchema = { type: 'number', minimum: 0, maximum: 1 };
const SCHEMA: JsonSchema = described(OBJECT, 'a JSON Schema, enforced as it stands');

const ON_FAILURES: JsonSchema = { type: 'string', enum: ON_FAILURE };

/** All that is told of a job; what it has none of is null. */
const JOB = answerOf({
  id: UUID,
  tenant_id: TEXT,
  user_id: nullable(TEXT),
  idempotency_key: nullable(TEXT),
  type: TEXT,
  type_version: COUNT,
  group: TEXT,
  queue: TEXT,
  channel: TEXT,
  kind: { type: 'string', enum: ['generic', 'scheduled', 'periodic'] },
  priority: { type: 'integer' },
  status: STATUS,
  waiting_for: nullable({
    type: 'string',
    enum: ['dependencies', 'signal', 'retry', 'time', 'paused', 'worker', null],
    description: 'why a waiting job waits',
  }),
  scheduled_at: described(INSTANT, 'when it was enqueued (Unix milliseconds)'),
  run_at: INSTANT,
  updated_at: INSTANT,
  started_at: nullable(INSTANT),
  finished_at: nullable(INSTANT),
  eta: nullable(described(INSTANT, 'expected end (Unix milliseconds)')),
  locked_by: nullable(described(UUID, 'the job it waits for while locked')),
  progress: FRACTION,
  progress_details: nullable(TEXT),
  completed: nullable({ type: 'number' }),
  total: nullable({ type: 'number' }),
  details: nullable(described(TEXT, 'reason of the latest cancel, skip or fail')),
  timeout_sec: SECONDS,
  max_retries: COUNT,
  retry_delay_sec: SECONDS,
  retries: COUNT,
  lost: COUNT,
  revision: described(COUNT, 'number of its runs so far'),
  error: nullable(TEXT),
  result: ANY_JSON,
  params: ANY_JSON,
  state: ANY_JSON,
  tags: { type: 'array', items: TEXT },
  meta: OBJECT,
  check_in: nullable(described(TEXT, 'the latest milestone that its handler has reported')),
  check_in_at: nullable(INSTANT),
  cancel_requested_at: nullable(INSTANT),
  schedule_id: nullable(UUID),
  status_hook: nullable(described(TEXT, 'where its events are sent')),
  upstream_job_id: nullable(UUID),
  depends_on: {
    type: 'array',
    items: answerOf({ id: UUID, on_failure: ON_FAILURES }),
    description: 'the jobs that it waits for, or has waited for',
  },
  expires_at: nullable(INSTANT),
});

const PROBLEM: JsonSchema = {
  type: 'object',
  description: 'What went wrong, as RFC 9457 has it',
  properties: {
    type: { type: 'string', format: 'uri' },
    title: TEXT,
    status: { type: 'integer' },
    detail: described(TEXT, 'what happened and what to do'),
    code: described(TEXT, 'stable; what programs decide by'),
    instance: TEXT,
    errors: { type: 'array', items: answerOf({ field: TEXT, message: TEXT }) },
  },
  required: ['type', 'title', 'status', 'detail', 'code'],
  additionalProperties: true,
};

const COUNTS: JsonSchema = { type: 'object', additionalProperties: COUNT };

function listOf(member: string, item: ComponentName): JsonSchema {
  return answerOf({
    page: COUNT,
    limit: COUNT,
    total: COUNT,
    total_is_exact: { type: 'boolean' },
    order: TEXT,
    next_cursor: nullable(TEXT),
    [member]: { type: 'array', items: ref(item) },
  });
}

/** What answers look like; they refer to each other by name. */
export const COMPONENTS: Readonly<Record<ComponentName, JsonSchema>> = {
  Job: JOB,
  JobList: listOf('jobs', 'Job'),
  JobBatchResult: answerOf({
    jobs: {
      type: 'array',
      items: {
        type: 'object',
        properties: {
          outcome: {
            type: 'string',
            enum: ['created', 'replayed', 'existing', 'replaced', 'rejected'],
          },
          job: ref('Job'),
          error: ref('JobProblem'),
        },
        required: ['outcome'],
      },
    },
  }),
  JobFlow: answerOf({
    jobs: { type: 'object', additionalProperties: ref('Job'), description: 'by their keys' },
  }),
  JobDependencies: answerOf({
    depends_on: {
      type: 'array',
      items: answerOf({
        id: UUID,
        on_failure: ON_FAILURES,
        type: nullable(described(TEXT, 'null when it was deleted')),
        status: nullable(STATUS),
        result: ANY_JSON,
        error: nullable(TEXT),
      }),
    },
    dependents: {
      type: 'array',
      items: answerOf({ id: UUID, type: TEXT, status: STATUS, on_failure: ON_FAILURES }),
      description: 'the first 1,000',
    },
    causes: {
      type: 'array',
      items: ref('JobFailureCause'),
      description:
        'what did not complete; of all jobs it depends on, directly or not, 1,000 are looked at, the nearest first',
    },
  }),
  JobFailureCause: answerOf({
    id: UUID,
    type: TEXT,
    status: STATUS,
    error: nullable(TEXT),
    causes: {
      type: 'array',
      items: ref('JobFailureCause'),
      description:
        'told where the job is met first, level by level; empty where it is named again, which happens 1,000 times at the most',
    },
  }),
  JobEvent: {
    type: 'object',
    properties: {
      sequence: COUNT,
      type: { type: 'string', enum: ['status', 'progress', 'check_in'] },
      job_id: UUID,
      run_id: nullable(UUID),
      at: INSTANT,
      status: STATUS,
      from: STATUS,
      progress: FRACTION,
      message: TEXT,
      actor: described(TEXT, 'the operator who did it'),
    },
    required: ['sequence', 'type', 'job_id', 'run_id', 'at', 'status', 'progress'],
  },
  JobRun: answerOf({
    id: UUID,
    job_id: UUID,
    revision: COUNT,
    worker_id: nullable(TEXT),
    started_at: nullable(INSTANT),
    updated_at: INSTANT,
    ended_at: nullable(INSTANT),
    outcome: {
      type: 'string',
      enum: [
        'running',
        'completed',
        'failed',
        'timeout',
        'canceled',
        'suspended',
        'skipped',
        'released',
        'interrupted',
        'lost',
      ],
    },
    error: nullable(TEXT),
    completed: nullable({ type: 'number' }),
    total: nullable({ type: 'number' }),
  }),
  JobRunList: answerOf({ runs: { type: 'array', items: ref('JobRun') } }),
  JobRunPage: listOf('runs', 'JobRun'),
  JobLogLine: answerOf({
    seq: COUNT,
    at: INSTANT,
    level: { type: 'string', enum: LOG_LEVELS },
    run_id: nullable(TEXT),
    message: TEXT,
    fields: nullable(OBJECT),
  }),
  JobLogPage: answerOf({
    lines: { type: 'array', items: ref('JobLogLine') },
    next_after: described(COUNT, 'give it as `after` to go on'),
  }),
  JobType: answerOf({
    type_id: TEXT,
    group: TEXT,
    name: TEXT,
    description: nullable(TEXT),
    version: COUNT,
    timeout_sec: SECONDS,
    max_retries: COUNT,
    retry_delay_sec: SECONDS,
    suspendable: { type: 'boolean' },
    remote: { type: 'boolean' },
    params: described(ANY_JSON, 'the defaults'),
    params_schema: SCHEMA,
  }),
  JobTypeList: listOf('job_types', 'JobType'),
  JobGroup: answerOf({ name: TEXT, queue_name: TEXT, description: nullable(TEXT) }),
  JobGroupList: listOf('job_groups', 'JobGroup'),
  JobQueue: answerOf({
    name: TEXT,
    capacity: COUNT,
    paused: { type: 'boolean' },
    waiting: COUNT,
    running: COUNT,
    oldest_waiting_at: nullable(INSTANT),
  }),
  JobQueueList: listOf('queues', 'JobQueue'),
  JobWorker: answerOf({
    id: described(TEXT, 'new at every start'),
    host: TEXT,
    pid: COUNT,
    version: described(TEXT, 'of this package there'),
    queues: { type: 'array', items: TEXT },
    started_at: INSTANT,
    heartbeat_at: described(INSTANT, 'when it was last heard (Unix milliseconds)'),
    running: described(COUNT, 'runs that it holds'),
    runs: { type: 'array', items: ref('JobRun'), description: 'of these the first hundred' },
  }),
  JobWorkerList: listOf('workers', 'JobWorker'),
  ...WEBHOOK_COMPONENTS,
  JobWebhookList: listOf('webhooks', 'JobWebhook'),
  JobsStats: answerOf({
    by_status: COUNTS,
    by_type: COUNTS,
    by_queue: COUNTS,
    oldest_waiting_at: nullable(INSTANT),
    completed_last_minute: COUNT,
    workers: COUNT,
  }),
  JobsHealth: answerOf({
    status: { type: 'string', enum: ['ok', 'degraded', 'down'] },
    checks: {
      type: 'object',
      additionalProperties: answerOf({
        status: { type: 'string', enum: ['up', 'down'] },
        message: TEXT,
      }),
    },
  }),
  JobSchedule: SCHEDULE,
  JobScheduleList: listOf('schedules', 'JobSchedule'),
  JobSchedulePreview: SCHEDULE_PREVIEW,
  JobProblem: PROBLEM,
};
