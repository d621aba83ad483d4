import { isPlainText, LONGEST_CHANNEL } from './model/text.js';
import {
  atLeast,
  callable,
  checkKeys,
  checkName,
  count,
  description,
  enhancers,
  flag,
  invalid,
  isVersion,
  list,
  oneOf,
  optionalText,
  refuseNull,
  text,
} from './jobs.option-checks.js';
import { resolveWebhooks } from './jobs.webhook-options.js';
import { resolveLimits } from './jobs.limit-checks.js';
import type {
  ApiOptions,
  ApiSection,
  JobGroupOptions,
  JobsModuleOptions,
  LogFileOptions,
  QueueOptions,
  ResolvedOptions,
  RetentionOptions,
} from './jobs.options.js';
import { durationMs } from './model/duration.js';
import { LOG_LEVELS } from './model/job.js';
import { FINAL_STATUSES, type FinalStatus } from './model/job-status.js';
import type { ScopeLimits } from './model/limits.js';
import { resolveBackoff } from './model/retry-policy.js';

/** What checks a class calls itself for each level: between 500 and 1000 of them a call stack is full. */
const DEEPEST = 256;

/**
 * Checks the options and adds the defaults.
 *
 * @throws JobsError `invalid_options` that names the key and the fix
 */
export function resolveOptions(options: JobsModuleOptions): ResolvedOptions {
  checkKeys('options', options);
  refuseNull(options);
  flag(options.isGlobal ?? true, 'isGlobal');
  const { queues, queueLimits } = resolveQueues(options.queues ?? {});
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
    queueLimits,
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
      depth: count(limits.depth ?? 64, 'limits.depth', 1, DEEPEST),
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
    webhooks: resolveWebhooks(options.webhooks ?? {}),
    api: resolveApi(options.api ?? {}),
  });
}

function resolveQueues(given: Readonly<Record<string, QueueOptions>>): {
  readonly queues: ReadonlyMap<string, number>;
  readonly queueLimits: ReadonlyMap<string, ScopeLimits>;
} {
  const queueLimits = new Map<string, ScopeLimits>();
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
    const { capacity, limits } = resolveQueue(name, queue);
    queues.set(name, capacity);
    setLimits(queueLimits, name, limits);
  }
  return { queues, queueLimits };
}

/** @throws JobsError `invalid_options` */
export function resolveQueue(
  name: string,
  queue: QueueOptions,
): { readonly capacity: number; readonly limits: ScopeLimits | undefined } {
  const where = `queues.${name}`;
  if (typeof queue === 'object' && queue !== null) {
    for (const key of Object.keys(queue)) {
      if (!['capacity', 'concurrency', 'rate'].includes(key)) {
        throw invalid(
          `The option "${where}.${key}" is unknown: a queue has a capacity, and may have concurrency and rate.`,
        );
      }
    }
    return {
      capacity: count(queue.capacity, `${where}.capacity`),
      limits: resolveLimits(queue, `${where}.`),
    };
  }
  return { capacity: count(queue, where), limits: undefined };
}

/** A queue that is registered again has the limits that it is registered with, or none. */
export function setLimits(
  all: Map<string, ScopeLimits>,
  name: string,
  limits: ScopeLimits | undefined,
): void {
  if (limits === undefined) {
    all.delete(name);
  } else {
    all.set(name, limits);
  }
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
    !channels.every((each) => isPlainText(each, 0, LONGEST_CHANNEL))
  ) {
    throw invalid(
      `channels is neither '*' nor an array of texts of at most ${LONGEST_CHANNEL} characters: the default is [''].`,
    );
  }
  if (channels.includes('*')) {
    throw invalid(
      "channels is an array that holds '*', which would be the one channel of that name: for all channels give channels: '*', without the array.",
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

const SECTIONS: Readonly<Record<ApiSection, true>> = {
  jobs: true,
  catalog: true,
  queues: true,
  schedules: true,
  webhooks: true,
  workers: true,
  stats: true,
};

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
    oneOf(section, Object.keys(SECTIONS), 'api.only');
  }
  return { ...api, path };
}
