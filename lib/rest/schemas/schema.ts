/**
 * A JSON Schema, in the dialect that ajv and OpenAPI 3.0 share (`nullable` beside `type`, no
 * `const`, no list of types), so that one object both checks requests and documents them.
 */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

/** The schema of a body or of a query: an object that refuses what it does not name. */
export interface ObjectSchema extends JsonSchema {
  readonly type: 'object';
  readonly properties: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties: false;
}

export function objectOf(
  properties: Readonly<Record<string, JsonSchema>>,
  required: readonly string[] = [],
): ObjectSchema {
  return {
    type: 'object',
    properties,
    ...(required.length === 0 ? {} : { required }),
    additionalProperties: false,
  };
}

/** A schema of an answer: every member is always there, absent values null. */
export function answerOf(properties: Readonly<Record<string, JsonSchema>>): JsonSchema {
  return { type: 'object', properties, required: Object.keys(properties) };
}

export function nullable(schema: JsonSchema): JsonSchema {
  return { ...schema, nullable: true };
}

export function described(schema: JsonSchema, description: string): JsonSchema {
  return { ...schema, description };
}

/** Names of schemas that the OpenAPI document lists as components. */
export type ComponentName =
  | 'Job'
  | 'JobList'
  | 'JobBatchResult'
  | 'JobDependencies'
  | 'JobEvent'
  | 'JobFailureCause'
  | 'JobFlow'
  | 'JobGroup'
  | 'JobGroupList'
  | 'JobLogLine'
  | 'JobLogPage'
  | 'JobProblem'
  | 'JobQueue'
  | 'JobQueueList'
  | 'JobRun'
  | 'JobRunList'
  | 'JobRunPage'
  | 'JobSchedule'
  | 'JobScheduleList'
  | 'JobSchedulePreview'
  | 'JobType'
  | 'JobTypeList'
  | 'JobWebhook'
  | 'JobWebhookChanged'
  | 'JobWebhookDelivery'
  | 'JobWebhookDeliveryList'
  | 'JobWebhookList'
  | 'JobWorker'
  | 'JobWorkerList'
  | 'JobsHealth'
  | 'JobsStats';

/** A reference to a component of the document; only for answers, which are not checked. */
export function ref(name: ComponentName): JsonSchema {
  return { $ref: `#/components/schemas/${name}` };
}

// Without a type: any JSON value.
export const ANY_JSON: JsonSchema = {};

/** Text that every database stores alike: no NUL, no half of a surrogate pair. */
export const STORABLE_TEXT = 'storable-text';

export function text(minLength: number, maxLength: number): JsonSchema {
  return { type: 'string', minLength, maxLength, format: STORABLE_TEXT };
}

/** An instant; the last one is the end of the year 9999. */
export const INSTANT: JsonSchema = {
  type: 'integer',
  minimum: 0,
  maximum: 253_402_300_799_999,
  description: 'Unix milliseconds',
};

/** A hundred years, in seconds. */
export const SECONDS: JsonSchema = {
  type: 'number',
  minimum: 0,
  maximum: 3_155_760_000,
  description: 'seconds, to the millisecond',
};

export const UUID: JsonSchema = { type: 'string', format: 'uuid' };

export function integer(minimum: number, maximum: number): JsonSchema {
  return { type: 'integer', minimum, maximum };
}

export const MAX_INT32 = 2_147_483_647;
