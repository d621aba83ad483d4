import { ON_FAILURE } from '../../model/dependencies.js';
import { ORDER_FIELDS } from '../../model/query.js';
import { JOB_STATUSES } from '../../model/job-status.js';
import { LOG_LEVELS } from '../../model/job.js';
import { UNIQUE_CONFLICTS, UNIQUE_UNTIL } from '../../model/unique.js';
import {
  ANY_JSON,
  described,
  INSTANT,
  integer,
  MAX_INT32,
  objectOf,
  SECONDS,
  text,
  UUID,
} from './schema.js';

const PRIORITY = described(integer(-MAX_INT32 - 1, MAX_INT32), 'higher runs first; 0 by default');
const MAX_RETRIES = integer(0, MAX_INT32);
const TAGS = { type: 'array', maxItems: 20, items: text(1, 64) };
const REASON = described(text(0, 8000), 'kept in the job’s details');

/** The parameter of paths to a job. */
export const JOB_ID = { id: UUID };

/** Parameters of paths to what has a name. */
export const TYPE_ID = { id: described(text(1, 129), '`group:name`') };
export const GROUP_ID = { id: text(1, 64) };
export const QUEUE_NAME = { name: text(1, 64) };
export const WORKER_ID = { id: text(1, 64) };

/** A job that is waited for, and what follows when it does not complete. */
const DEPENDENCY = objectOf(
  {
    id: UUID,
    on_failure: { type: 'string', enum: ON_FAILURE, description: '`fail` by default' },
  },
  ['id'],
);

/** One job at a time with the same key. */
const UNIQUE = objectOf({
  key: described(text(1, 255), 'default: the job type and its params'),
  until: {
    type: 'string',
    enum: UNIQUE_UNTIL,
    description: 'free again at the first claim, or at the end (`final`, default)',
  },
  within_sec: described(SECONDS, 'and not before so many seconds after the enqueue'),
  on_conflict: {
    type: 'string',
    enum: UNIQUE_CONFLICTS,
    description:
      '`reject` (default): 409 `duplicate_job`; `return`: the job that is there; `replace`: its params and times while it still waits',
  },
});

/** The body of `POST /jobs`, and each item of `POST /jobs/batch`. */
export const CREATE_JOB = objectOf(
  {
    type: described(text(1, 129), 'id of the job type, `group:name`'),
    idempotency_key: text(1, 255),
    params: described(ANY_JSON, 'as the job type’s `params_schema` says'),
    run_at: described(INSTANT, 'not before then (Unix milliseconds); not with `delay_sec`'),
    delay_sec: described(SECONDS, 'not before so many seconds from now'),
    priority: PRIORITY,
    channel: described(text(0, 64), 'routing label, matched exactly'),
    timeout_sec: described(SECONDS, 'how long a run may take; 0 = no limit; default: the type’s'),
    max_retries: described(MAX_RETRIES, 'default: the type’s'),
    retry_delay_sec: described(SECONDS, 'default: the type’s'),
    state: described(ANY_JSON, 'a first checkpoint'),
    tags: TAGS,
    meta: { type: 'object', description: 'at most 16 kB, given to handlers, not validated' },
    expires_at: described(INSTANT, 'not started by then (Unix milliseconds): skipped'),
    depends_on: {
      type: 'array',
      maxItems: 1000,
      items: {
        anyOf: [
          described(UUID, 'the id of a job'),
          described(DEPENDENCY, 'an object of `id` and `on_failure`'),
        ],
      },
      description: 'jobs of the same tenant that it waits for until all are final',
    },
    unique: {
      anyOf: [
        described({ type: 'boolean', enum: [true] }, 'true'),
        described(UNIQUE, 'an object of `key`, `until`, `within_sec` and `on_conflict`'),
      ],
      description: 'one job at a time with this key, or with the same type and params',
    },
    status_hook: described(text(1, 2048), 'a URL that is told each status and check-in, signed'),
  },
  ['type'],
);

/** More than so many jobs in one call are refused with 413. */
export const BATCH_JOBS = 1000;

/** The body of `POST /jobs/batch`. */
export const CREATE_JOBS = objectOf(
  {
    jobs: { type: 'array', items: CREATE_JOB, description: `at most ${BATCH_JOBS}, 5 MB in all` },
    on_conflict: {
      type: 'string',
      enum: ['fail', 'ignore'],
      description: '`fail` (default): all or nothing; `ignore`: an outcome per job',
    },
  },
  ['jobs'],
);

/** One job of a flow. */
const FLOW_JOB = objectOf(
  {
    ...CREATE_JOB.properties,
    depends_on: {
      type: 'array',
      maxItems: 1000,
      items: {
        anyOf: [
          described(text(1, 255), 'a key of this flow or the id of a job'),
          described(
            objectOf({ id: text(1, 255), on_failure: DEPENDENCY.properties['on_failure'] ?? {} }, [
              'id',
            ]),
            'an object of `id` and `on_failure`',
          ),
        ],
      },
      description: 'keys of this flow, or ids of jobs that are there',
    },
  },
  ['type'],
);

/** The body of `POST /jobs/flow`. */
export const CREATE_FLOW = objectOf(
  {
    jobs: {
      type: 'object',
      additionalProperties: FLOW_JOB,
      description: `a job for each key, at most ${BATCH_JOBS}, 5 MB in all`,
    },
  },
  ['jobs'],
);

/** The parameters of `DELETE /jobs/:id`. */
export const DELETE_JOB = objectOf({
  cascade: {
    type: 'string',
    enum: ['true', 'false'],
    description: 'also delete, transitively, the jobs that wait for it',
  },
});

/** The body of `PATCH /jobs/:id`. */
export const UPDATE_JOB = objectOf({
  priority: PRIORITY,
  run_at: INSTANT,
  timeout_sec: SECONDS,
  max_retries: MAX_RETRIES,
  retry_delay_sec: SECONDS,
  tags: TAGS,
});

/** The body of the operations on a job. */
export const WITH_REASON = objectOf({ reason: REASON });

/** The body of `POST /jobs/:id/fail`. */
export const FAIL_JOB = objectOf({ reason: REASON, result: ANY_JSON });

/** What is signalled, in the path. */
export const SIGNAL_NAME = { name: text(1, 100) };

/** The body of `POST /jobs/:id/signals/:name`. */
export const SEND_SIGNAL = objectOf({
  payload: described(ANY_JSON, 'what the handler is given; null by default'),
});

const orderField = `-?(${ORDER_FIELDS.join('|')})`;

/** A list separated by commas. */
function commaList(items: object): object {
  return { type: 'array', items, minItems: 1, maxItems: 100 };
}

const PAGE = {
  page: described(integer(1, 10_000), 'from 1; page × limit is at most 10,000'),
  limit: described(integer(1, 1000), '50 by default'),
  page_size: described(integer(1, 1000), 'another name of `limit`'),
  cursor: described(text(1, 2000), 'the `next_cursor` of the page before; not with `page`'),
};

/** The parameters of `GET /jobs`. */
export const LIST_JOBS = objectOf({
  ...PAGE,
  order: {
    type: 'string',
    pattern: `^${orderField}(,${orderField})*$`,
    maxLength: 200,
    description: `comma list of ${ORDER_FIELDS.join(', ')}; \`-\` descends; ties go by id`,
  },
  status: { ...commaList({ type: 'string', enum: JOB_STATUSES }), description: 'comma list' },
  type: { ...commaList(text(1, 129)), description: 'comma list of type ids' },
  group: text(1, 64),
  queue: text(1, 64),
  channel: text(0, 64),
  kind: { type: 'string', enum: ['generic', 'scheduled', 'periodic'] },
  tag: text(1, 64),
  user_id: text(1, 64),
  schedule_id: UUID,
  upstream_job_id: UUID,
  idempotency_key: text(1, 255),
  scheduled_after: described(INSTANT, 'enqueued after then (Unix milliseconds)'),
  scheduled_before: described(INSTANT, 'enqueued before then (Unix milliseconds)'),
  q: described(text(0, 255), 'an id, or the beginning of a type or an idempotency key'),
});

/** The parameters of the lists of job types, job groups and queues. */
export const LIST_NAMED = objectOf(PAGE);

/** The parameters of `GET /workers`. */
export const LIST_WORKERS = objectOf({
  ...PAGE,
  older_than_sec: described(SECONDS, 'only workers that were not heard for so many seconds'),
});

/** The parameters of `GET /runs`. */
export const LIST_RUNS = objectOf({
  ...PAGE,
  older_than_sec: described(SECONDS, 'only runs whose worker was not heard for so many seconds'),
  worker_id: text(1, 64),
});

/** The parameters of `GET /jobs/:id/wait`. */
export const WAIT = objectOf({
  timeout_sec: { type: 'number', minimum: 0, maximum: 60, description: '30 by default' },
});

/** The parameters of `GET /jobs/:id/logs`. */
export const READ_LOGS = objectOf({
  after: described(integer(0, Number.MAX_SAFE_INTEGER), 'only lines after this `seq`'),
  level: { type: 'string', enum: LOG_LEVELS, description: 'the lowest level shown' },
  limit: described(integer(1, 1000), '200 by default'),
  tail: described(integer(1, 1000), 'the last so many lines instead of the first'),
});
