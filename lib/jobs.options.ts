import type { CanActivate, ControllerOptions, NestInterceptor, Type } from '@nestjs/common';
import { durationMs, type Duration } from './model/duration.js';
import { JobsError } from './model/errors.js';
import { LOG_LEVELS, type LogLevel } from './model/job.js';
import { FINAL_STATUSES, type FinalStatus } from './model/job-status.js';
import { resolveBackoff, type Backoff, type ResolvedBackoff } from './model/retry-policy.js';

/** Who makes a request. */
export interface JobsIdentity {
  /** 1–64 characters. */
  readonly tenantId: string;
  /** 1–64 characters, or null when unknown. @default null */
  readonly userId?: string | null;
  /** May pause queues and see the workers. @default false */
  readonly operator?: boolean;
}

/** A group of job types, and the queue that its jobs wait in. */
export interface JobGroupOptions {
  /** `[A-Za-z0-9_.-]{1,64}`. */
  readonly name: string;
  /** A built-in queue or one of the option `queues`. @default 'default' */
  readonly queue?: string;
  readonly description?: string;
}

/** A queue: its capacity, or an object with it. */
export type QueueOptions = number | { readonly capacity: number };

/** Groups of REST routes that `api.only` names. */
export type ApiSection = 'jobs' | 'catalog' | 'queues' | 'stats';

/** What the REST API is mounted with. */
export interface ApiOptions {
  /** Path in front of the routes. @default '' */
  readonly path?: string;
  /** Version of the controllers, as `@Controller({ version })` takes it. */
  readonly version?: ControllerOptions['version'];
  /** Guards of every route: classes (resolved by Nest) or instances. */
  readonly guards?: readonly (Type<CanActivate> | CanActivate)[];
  /** Interceptors of every route: classes (resolved by Nest) or instances. */
  readonly interceptors?: readonly (Type<NestInterceptor> | NestInterceptor)[];
  /** The groups of routes to register. @default all */
  readonly only?: readonly ApiSection[];
}

/** Defaults of job types; a type and a job override them. */
export interface JobDefaults {
  /** How long a run may take; 0 = no limit. @default 0 */
  readonly timeout?: Duration;
  /** @default 0 */
  readonly maxRetries?: number;
  /** Before the first retry. @default '10s' */
  readonly retryDelay?: Duration;
  /** How the delay grows. @default 'fixed' */
  readonly backoff?: Backoff;
  /** Whether a run that timed out is retried. @default false */
  readonly retryOnTimeout?: boolean;
}

/** A worker's hold on a job. */
export interface LeaseOptions {
  /** At least 1 s. A dead worker's jobs come back after this and one sweep. @default '30s' */
  readonly duration?: Duration;
  /** How often ended leases are looked for; at least 0.2 s. @default '10s' */
  readonly sweep?: Duration;
  /** How often a job is taken back from a lost worker before it fails. @default 3 */
  readonly maxLost?: number;
}

/** How long what is asked to stop may take. */
export interface GraceOptions {
  /** A stopping process waits so long for its handlers before it signals them. @default '30s' */
  readonly shutdown?: Duration;
  /** A signalled handler may take so long before its run is settled by force. @default '5s' */
  readonly signal?: Duration;
}

/** Age at which ended jobs are deleted, by status; `false` keeps them. */
export type RetentionOptions = false | { readonly [S in FinalStatus]?: Duration | false };

/** Sizes in UTF-8 bytes, except `logLines` (lines a run) and `depth` (levels of nesting). */
export interface LimitOptions {
  /** @default 262144 */
  readonly params?: number;
  /** @default 262144 */
  readonly result?: number;
  /** @default 262144 */
  readonly state?: number;
  /** @default 16384 */
  readonly meta?: number;
  /** Error texts are cut there. @default 32768 */
  readonly error?: number;
  /** Log lines are cut there. @default 16384 */
  readonly logLine?: number;
  /** @default 10000 */
  readonly logLines?: number;
  /** @default 64 */
  readonly depth?: number;
}

/** Rotating files of the jobs' logs. */
export interface LogFileOptions {
  readonly path: string;
  /** @default 'debug' */
  readonly level?: LogLevel;
  /** Bytes, or a text such as '1000M'. @default '1000M' */
  readonly maxSize?: number | string;
  /** Rotated files that are kept. @default 3 */
  readonly maxFiles?: number;
  /** Rotated files older than this are deleted. @default '28d' */
  readonly maxAge?: Duration;
}

/** Logs of the jobs. */
export interface JobLogOptions {
  /** The lowest level kept in the database. @default 'info' */
  readonly level?: LogLevel;
  /** @default false */
  readonly file?: false | LogFileOptions;
}

/** How the engine treats the database. */
export interface DatabaseOptions {
  /** `auto` migrates at the first contact, `check` refuses an older schema, `off` does neither. @default 'auto' */
  readonly migrate?: 'auto' | 'check' | 'off';
  /** Connections of the engine's own pool; SQLite has one. */
  readonly poolSize?: number;
}

/** What `forRoot` takes. */
export interface JobsModuleOptions {
  /** Whether the services can be injected everywhere. @default true */
  readonly isGlobal?: boolean;
  /** Name of the TypeORM data source. @default the default one */
  readonly dataSource?: string;
  /** `worker` and `both` run jobs, `producer` only enqueues. @default 'both' */
  readonly role?: 'both' | 'worker' | 'producer';
  /** Whether workers start with the application. @default true */
  readonly autoStart?: boolean;
  /** Groups beside `default`. */
  readonly groups?: readonly JobGroupOptions[];
  /** Queues by name, over the built-in `compute` 1, `maintenance` 5, `download` 10, `default` 10. */
  readonly queues?: Readonly<Record<string, QueueOptions>>;
  /** The channels that this process's workers claim, or all. @default [''] */
  readonly channels?: readonly string[] | '*';
  /** Tells who makes a request; a throw is answered 401. @default one tenant, everyone is operator */
  readonly identify?: (request: never) => JobsIdentity | Promise<JobsIdentity>;
  readonly defaults?: JobDefaults;
  readonly lease?: LeaseOptions;
  readonly grace?: GraceOptions;
  /** @default completed, skipped and canceled 7 days, failed and timeout 30 */
  readonly retention?: RetentionOptions;
  readonly limits?: LimitOptions;
  readonly logs?: JobLogOptions;
  readonly database?: DatabaseOptions;
  /** @default mounted at the root */
  readonly api?: false | ApiOptions;
}

/** The options with every value present; durations in milliseconds. */
export interface ResolvedOptions {
  readonly dataSource: string | undefined;
  readonly role: 'both' | 'worker' | 'producer';
  readonly autoStart: boolean;
  readonly groups: ReadonlyMap<
    string,
    { readonly name: string; readonly queueName: string; readonly description: string }
  >;
  readonly queues: ReadonlyMap<string, number>;
  readonly channels: readonly string[] | '*';
  readonly identify: ((request: never) => JobsIdentity | Promise<JobsIdentity>) | undefined;
  readonly defaults: {
    readonly timeoutMs: number;
    readonly maxRetries: number;
    readonly retryDelayMs: number;
    readonly backoff: ResolvedBackoff;
    readonly retryOnTimeout: boolean;
  };
  readonly lease: {
    readonly durationMs: number;
    readonly sweepMs: number;
    readonly maxLost: number;
  };
  readonly grace: { readonly shutdownMs: number; readonly signalMs: number };
  readonly retention: ReadonlyMap<FinalStatus, number>;
  readonly limits: Required<LimitOptions>;
  readonly logs: {
    readonly level: LogLevel;
    readonly file:
      (Required<Omit<LogFileOptions, 'maxAge'>> & { readonly maxAgeMs: number }) | undefined;
  };
  readonly database: {
    readonly migrate: 'auto' | 'check' | 'off';
    readonly poolSize: number | undefined;
  };
  readonly api: false | (ApiOptions & { readonly path: string });
}

/** What names of groups, types and queues look like. */
export const NAME_PATTERN = /^[A-Za-z0-9_.-]{1,64}$/;

const KEYS: Readonly<Record<string, readonly string[]>> = {
  options: [
    'isGlobal',
    'dataSource',
    'role',
    'autoStart',
    'groups',
    'queues',
    'channels',
    'identify',
    'defaults',
    'lease',
    'grace',
    'retention',
    'limits',
    'logs',
    'database',
    'api',
  ],
  defaults: ['timeout', 'maxRetries', 'retryDelay', 'backoff', 'retryOnTimeout'],
  lease: ['duration', 'sweep', 'maxLost'],
  grace: ['shutdown', 'signal'],
  retention: FINAL_STATUSES,
  limits: ['params', 'result', 'state', 'meta', 'error', 'logLine', 'logLines', 'depth'],
  logs: ['level', 'file'],
  'logs.file': ['path', 'level', 'maxSize', 'maxFiles', 'maxAge'],
  database: ['migrate', 'poolSize'],
  api: ['path', 'version', 'guards', 'interceptors', 'only'],
};

/** Options whose behaviour comes with a later version; naming them beats "unknown". */
const LATER: readonly string[] = ['dashboard', 'remoteTypes', 'workers', 'webhooks'];

/**
 * Checks the options and adds the defaults.
 *
 * @throws JobsError `invalid_options` that names the key and the fix
 */
export function resolveOptions(options: JobsModuleOptions): ResolvedOptions {
  checkKeys('options', options);
  refuseNull(options);
  flag(options.isGlobal ?? true, 'isGlobal');
  const queues = resolveQueues(options.queues ?? {});
  const { defaults = {}, lease = {}, grace = {}, limits = {}, logs = {}, database = {} } = options;
  checkKeys('defaults', defaults);
  checkKeys('lease', lease);
  checkKeys('grace', grace);
  checkKeys('limits', limits);
  checkKeys('logs', logs);
  checkKeys('database', database);
  return Object.freeze({
    dataSource: optionalText(options.dataSource, 'dataSource'),
    role: oneOf(options.role ?? 'both', ['both', 'worker', 'producer'] as const, 'role'),
    autoStart: flag(options.autoStart ?? true, 'autoStart'),
    groups: resolveGroups(options.groups ?? [], queues),
    queues,
    channels: resolveChannels(options.channels ?? ['']),
    identify: callable(options.identify, 'identify'),
    defaults: {
      timeoutMs: durationMs(defaults.timeout ?? 0, 'defaults.timeout', 'invalid_options'),
      maxRetries: count(defaults.maxRetries ?? 0, 'defaults.maxRetries', 0),
      retryDelayMs: durationMs(
        defaults.retryDelay ?? '10s',
        'defaults.retryDelay',
        'invalid_options',
      ),
      backoff: resolveBackoff(defaults.backoff ?? 'fixed', 'defaults.backoff'),
      retryOnTimeout: flag(defaults.retryOnTimeout ?? false, 'defaults.retryOnTimeout'),
    },
    lease: {
      durationMs: atLeast(1000, lease.duration ?? '30s', 'lease.duration'),
      sweepMs: atLeast(200, lease.sweep ?? '10s', 'lease.sweep'),
      maxLost: count(lease.maxLost ?? 3, 'lease.maxLost', 0),
    },
    grace: {
      shutdownMs: durationMs(grace.shutdown ?? '30s', 'grace.shutdown', 'invalid_options'),
      signalMs: durationMs(grace.signal ?? '5s', 'grace.signal', 'invalid_options'),
    },
    retention: resolveRetention(options.retention ?? {}),
    limits: {
      params: count(limits.params ?? 262_144, 'limits.params'),
      result: count(limits.result ?? 262_144, 'limits.result'),
      state: count(limits.state ?? 262_144, 'limits.state'),
      meta: count(limits.meta ?? 16_384, 'limits.meta'),
      error: count(limits.error ?? 32_768, 'limits.error'),
      logLine: count(limits.logLine ?? 16_384, 'limits.logLine'),
      logLines: count(limits.logLines ?? 10_000, 'limits.logLines', 0),
      depth: count(limits.depth ?? 64, 'limits.depth'),
    },
    logs: {
      level: oneOf(logs.level ?? 'info', LOG_LEVELS, 'logs.level'),
      file: resolveLogFile(logs.file ?? false),
    },
    database: {
      migrate: oneOf(
        database.migrate ?? 'auto',
        ['auto', 'check', 'off'] as const,
        'database.migrate',
      ),
      poolSize:
        database.poolSize === undefined ? undefined : count(database.poolSize, 'database.poolSize'),
    },
    api: resolveApi(options.api ?? {}),
  });
}

/** @throws JobsError `invalid_options` when the name has other characters or another length */
export function checkName(name: unknown, what: string): string {
  if (typeof name !== 'string' || !NAME_PATTERN.test(name)) {
    throw invalid(
      `${what} is ${JSON.stringify(name) ?? 'undefined'}: use 1–64 letters, digits, "_", "." or "-".`,
    );
  }
  return name;
}

/** @throws JobsError `invalid_options` for anything but a whole number of at least `least` */
export function count(value: unknown, what: string, least = 1): number {
  if (
    typeof value !== 'number' ||
    !Number.isSafeInteger(value) ||
    value < least ||
    value > 2 ** 31 - 1
  ) {
    throw invalid(
      `${what} is ${String(value)}: use a whole number from ${least} to ${2 ** 31 - 1}.`,
    );
  }
  return value;
}

/** An `invalid_options` error with that message. */
export function invalid(message: string): JobsError {
  return new JobsError('invalid_options', message);
}

/** @throws JobsError `invalid_options` for keys that are not known */
export function checkKeys(scope: string, value: object): void {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`${scope} is ${JSON.stringify(value)}: give an object.`);
  }
  const known = KEYS[scope] ?? [];
  for (const key of Object.keys(value)) {
    if (!known.includes(key)) {
      const where = scope === 'options' ? '' : `${scope}.`;
      throw invalid(
        LATER.includes(key) && scope === 'options'
          ? `The option "${key}" is not part of this version of nestjs-jobs: remove it.`
          : `The option "${where}${key}" is unknown: remove it, or use one of ${known.join(', ')}.`,
      );
    }
  }
}

function resolveQueues(given: Readonly<Record<string, QueueOptions>>): ReadonlyMap<string, number> {
  const queues = new Map([
    ['compute', 1],
    ['maintenance', 5],
    ['download', 10],
    ['default', 10],
  ]);
  if (typeof given !== 'object' || Array.isArray(given)) {
    throw invalid('queues is not an object: give capacities by queue name, such as { mail: 20 }.');
  }
  for (const [name, queue] of Object.entries(given)) {
    checkName(name, 'The name of a queue');
    queues.set(name, queueCapacity(name, queue));
  }
  return queues;
}

/** @throws JobsError `invalid_options` */
export function queueCapacity(name: string, queue: QueueOptions): number {
  if (typeof queue === 'object' && queue !== null) {
    for (const key of Object.keys(queue)) {
      if (key !== 'capacity') {
        throw invalid(`The option "queues.${name}.${key}" is unknown: a queue has a capacity.`);
      }
    }
    return count(queue.capacity, `queues.${name}.capacity`);
  }
  return count(queue, `queues.${name}`);
}

function resolveGroups(
  given: readonly JobGroupOptions[],
  queues: ReadonlyMap<string, number>,
): ResolvedOptions['groups'] {
  const groups = new Map([['default', { name: 'default', queueName: 'default', description: '' }]]);
  if (!Array.isArray(given)) {
    throw invalid('groups is not an array: give [{ name, queue, description }].');
  }
  const seen = new Set<string>();
  for (const group of given as readonly JobGroupOptions[]) {
    const name = checkName(group?.name, 'The name of a group');
    if (seen.has(name)) {
      throw invalid(`The group "${name}" is declared twice in groups: keep one of them.`);
    }
    seen.add(name);
    groups.set(name, resolveGroup(group, queues));
  }
  return groups;
}

/** @throws JobsError `invalid_options` when the queue is unknown */
export function resolveGroup(
  group: JobGroupOptions,
  queues: ReadonlyMap<string, number>,
): { readonly name: string; readonly queueName: string; readonly description: string } {
  for (const key of Object.keys(group)) {
    if (!['name', 'queue', 'description'].includes(key)) {
      throw invalid(
        `The option "${key}" of group "${group.name}" is unknown: use name, queue, description.`,
      );
    }
  }
  const queueName = group.queue ?? 'default';
  if (!queues.has(queueName)) {
    throw invalid(
      `The group "${group.name}" names the queue "${queueName}", which does not exist: add queues: { ${JSON.stringify(queueName)}: <capacity> } or use one of ${[...queues.keys()].join(', ')}.`,
    );
  }
  return {
    name: group.name,
    queueName,
    description: description(group.description, `The description of group "${group.name}"`),
  };
}

function resolveChannels(channels: readonly string[] | '*'): readonly string[] | '*' {
  if (channels === '*') {
    return channels;
  }
  if (
    !Array.isArray(channels) ||
    channels.length === 0 ||
    channels.some((each) => typeof each !== 'string' || each.length > 64)
  ) {
    throw invalid(
      "channels is neither '*' nor an array of texts of at most 64 characters: the default is [''].",
    );
  }
  return [...new Set(channels as readonly string[])];
}

function resolveRetention(retention: RetentionOptions): ReadonlyMap<FinalStatus, number> {
  if (retention === false) {
    return new Map();
  }
  checkKeys('retention', retention);
  const defaults = {
    completed: '7d',
    skipped: '7d',
    canceled: '7d',
    failed: '30d',
    timeout: '30d',
  };
  const ages = new Map<FinalStatus, number>();
  for (const status of FINAL_STATUSES) {
    const age = retention[status] ?? defaults[status];
    if (age !== false) {
      ages.set(status, durationMs(age, `retention.${status}`, 'invalid_options'));
    }
  }
  return ages;
}

function resolveLogFile(file: false | LogFileOptions): ResolvedOptions['logs']['file'] {
  if (file === false) {
    return undefined;
  }
  checkKeys('logs.file', file);
  const maxSize = file.maxSize ?? '1000M';
  if (typeof maxSize === 'string' ? !/^\d+(B|[KMG]B?)$/.test(maxSize) : !(maxSize > 0)) {
    throw invalid(`logs.file.maxSize is ${String(maxSize)}: use bytes, or a text such as '1000M'.`);
  }
  return {
    path: text(file.path, 'logs.file.path'),
    level: oneOf(file.level ?? 'debug', LOG_LEVELS, 'logs.file.level'),
    // '10MB' says the same as '10M'.
    maxSize: typeof maxSize === 'string' ? maxSize.replace(/(?<=[KMG])B$/, '') : maxSize,
    maxFiles: count(file.maxFiles ?? 3, 'logs.file.maxFiles'),
    maxAgeMs: durationMs(file.maxAge ?? '28d', 'logs.file.maxAge', 'invalid_options'),
  };
}

function resolveApi(api: false | ApiOptions): ResolvedOptions['api'] {
  if (api === false) {
    return false;
  }
  checkKeys('api', api);
  const path = api.path ?? '';
  if (typeof path !== 'string') {
    throw invalid(`api.path is ${String(path)}: use a text such as 'admin'.`);
  }
  const { version } = api;
  if (version !== undefined && !isVersion(version)) {
    throw invalid(
      "api.version is no version: use a text such as '1', an array of them, or VERSION_NEUTRAL.",
    );
  }
  enhancers(api.guards, 'api.guards', 'canActivate');
  enhancers(api.interceptors, 'api.interceptors', 'intercept');
  for (const section of list(api.only, 'api.only')) {
    oneOf(section, ['jobs', 'catalog', 'queues', 'stats'] as const, 'api.only');
  }
  return { ...api, path };
}

function oneOf<T extends string>(value: unknown, words: readonly T[], what: string): T {
  const word = words.find((each) => each === value);
  if (word === undefined) {
    throw invalid(
      `${what} is ${JSON.stringify(value)}: use ${words.map((each) => `'${each}'`).join(', ')}.`,
    );
  }
  return word;
}

function isVersion(version: unknown): boolean {
  const versions: readonly unknown[] = Array.isArray(version) ? version : [version];
  return (
    versions.length > 0 &&
    versions.every(
      (each) =>
        // VERSION_NEUTRAL is a symbol.
        typeof each === 'symbol' || (typeof each === 'string' && each !== ''),
    )
  );
}

function list(value: unknown, what: string): readonly unknown[] {
  if (value !== undefined && !Array.isArray(value)) {
    throw invalid(`${what} is no array: give one.`);
  }
  return (value as readonly unknown[] | undefined) ?? [];
}

/** Each a class, or an instance that has the method. */
function enhancers(value: unknown, what: string, method: string): void {
  list(value, what).forEach((each, index) => {
    const isInstance = typeof each === 'object' && each !== null && method in each;
    if (typeof each !== 'function' && !isInstance) {
      throw invalid(`${what}[${index}] is no class and has no ${method}: give one or the other.`);
    }
  });
}

/** Nobody means a default by null: `api: null` looks like an API that is switched off. */
function refuseNull(options: object): void {
  const found = Object.entries(options).find(([, value]) => value === null);
  if (found !== undefined) {
    throw invalid(`${found[0]} is null: leave it out for its default, or give a value.`);
  }
}

/** @throws JobsError `invalid_options` for anything but a text, or nothing */
export function description(value: unknown, what: string): string {
  if (value !== undefined && typeof value !== 'string') {
    throw invalid(`${what} is ${JSON.stringify(value)}: give a text.`);
  }
  return value ?? '';
}

/** @throws JobsError `invalid_options` for anything but true and false */
export function flag(value: unknown, what: string): boolean {
  if (typeof value !== 'boolean') {
    throw invalid(`${what} is ${JSON.stringify(value)}: use true or false.`);
  }
  return value;
}

function text(value: unknown, what: string): string {
  if (typeof value !== 'string' || value === '') {
    throw invalid(`${what} is ${JSON.stringify(value) ?? 'undefined'}: give a text.`);
  }
  return value;
}

function optionalText(value: unknown, what: string): string | undefined {
  return value === undefined ? undefined : text(value, what);
}

function callable<T>(value: T, what: string): T {
  if (value !== undefined && typeof value !== 'function') {
    throw invalid(`${what} is a ${typeof value}: give a function.`);
  }
  return value;
}

function atLeast(least: number, value: Duration, what: string): number {
  const ms = durationMs(value, what, 'invalid_options');
  if (ms < least) {
    throw invalid(`${what} is ${String(value)}: use at least ${least / 1000} s.`);
  }
  return ms;
}
