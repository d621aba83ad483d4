import { SCHEDULE_MISFIRES, SCHEDULE_OVERLAPS } from '../../model/schedule.js';
import { CREATE_JOB, LIST_JOBS } from './requests.js';
import {
  ANY_JSON,
  answerOf,
  described,
  INSTANT,
  integer,
  type JsonSchema,
  nullable,
  objectOf,
  SECONDS,
  text,
  UUID,
} from './schema.js';

/** The parameter of paths to a schedule. */
export const SCHEDULE_NAME = { name: text(1, 255) };

/** What its jobs are enqueued with. */
const OPTIONS = objectOf(
  Object.fromEntries(
    [
      'priority',
      'channel',
      'timeout_sec',
      'max_retries',
      'retry_delay_sec',
      'state',
      'tags',
      'meta',
      'unique',
      'status_hook',
    ].map((name) => [name, jobOption(name)]),
  ),
);

/** As the body of `POST /jobs` has it. */
function jobOption(name: string): JsonSchema {
  const found = (CREATE_JOB.properties as Readonly<Record<string, JsonSchema>>)[name];
  if (found === undefined) {
    throw new Error(`A job has no option ${name}.`);
  }
  return found;
}

const OVERLAP: JsonSchema = {
  type: 'string',
  enum: SCHEDULE_OVERLAPS,
  description: 'at a slot while a job of it has not ended; `skip` by default',
};
const MISFIRE: JsonSchema = {
  type: 'string',
  enum: SCHEDULE_MISFIRES,
  description: 'for slots missed while nobody ran; `once` by default',
};

// Texts are longer here than they may be: what is too long is told what to write instead.
const BODY: Readonly<Record<string, JsonSchema>> = {
  type: described(text(1, 129), 'id of the job type, `group:name`'),
  params: described(ANY_JSON, 'as the job type’s `params_schema` says'),
  cron: nullable(
    described(text(0, 100_000), 'five fields, or six with seconds first; at most 256 characters'),
  ),
  time_zone: nullable(described(text(0, 1000), 'of `cron`: a name, or an offset; UTC by default')),
  every_sec: nullable(described(SECONDS, 'a fixed rate, at least a second')),
  after_sec: nullable(described(SECONDS, 'so long after the last run ended, at least a second')),
  start_at: nullable(described(INSTANT, 'not due before then (Unix milliseconds)')),
  end_at: nullable(described(INSTANT, 'not due after then (Unix milliseconds)')),
  overlap: OVERLAP,
  misfire: MISFIRE,
  paused: described({ type: 'boolean' }, 'left out: as it is'),
  options: described(OPTIONS, 'what its jobs are enqueued with'),
};

/** The body of `POST /schedules`. */
export const CREATE_SCHEDULE = objectOf(
  { name: described(text(1, 255), 'one of a name in each tenant'), ...BODY },
  ['name', 'type'],
);

/** The body of `PUT /schedules/:name`. */
export const PUT_SCHEDULE = objectOf(
  { name: described(text(1, 255), 'as in the path, or left out'), ...BODY },
  ['type'],
);

/** The parameters of `DELETE /schedules/:name`. */
export const DELETE_SCHEDULE = objectOf({
  cancel_waiting: {
    type: 'string',
    enum: ['true', 'false'],
    description: 'whether what it made and still waits is canceled; `false` by default',
  },
});

/** The parameters of `GET /schedules/:name/preview`. */
export const PREVIEW = objectOf({ n: described(integer(1, 1000), '5 by default') });

const { schedule_id: _, ...jobFilters } = LIST_JOBS.properties;

/** The parameters of `GET /schedules/:name/jobs`. */
export const LIST_SCHEDULE_JOBS = objectOf(jobFilters);

const TEXT: JsonSchema = { type: 'string' };

/** A schedule in answers. */
export const SCHEDULE = answerOf({
  id: described(UUID, 'the `schedule_id` of its jobs'),
  tenant_id: TEXT,
  user_id: nullable(TEXT),
  name: TEXT,
  type: TEXT,
  params: ANY_JSON,
  cron: nullable(TEXT),
  time_zone: nullable(TEXT),
  every_sec: nullable(SECONDS),
  after_sec: nullable(SECONDS),
  start_at: nullable(INSTANT),
  end_at: nullable(INSTANT),
  overlap: OVERLAP,
  misfire: MISFIRE,
  paused: { type: 'boolean' },
  options: { type: 'object', additionalProperties: true },
  next_run_at: nullable(
    described(
      INSTANT,
      'null while paused, over, or waiting for the end of a run (Unix milliseconds)',
    ),
  ),
  last_run_at: nullable(described(INSTANT, 'when it made its latest job (Unix milliseconds)')),
  last_job_id: nullable(UUID),
  created_at: INSTANT,
  updated_at: INSTANT,
});

/** What `GET /schedules/:name/preview` answers. */
export const SCHEDULE_PREVIEW = answerOf({ next: { type: 'array', items: INSTANT } });
