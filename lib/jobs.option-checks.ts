import { durationMs, type Duration } from './model/duration.js';
import { JobsError } from './model/errors.js';
import { FINAL_STATUSES } from './model/job-status.js';

/** What names of groups, types and queues look like. */
const NAME_PATTERN = /^[A-Za-z0-9_.-]{1,64}$/;

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
    'webhooks',
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
  webhooks: [
    'endpoints',
    'secret',
    'encryptionKey',
    'overlap',
    'allowHttp',
    'allowAddresses',
    'proxy',
    'allowHosts',
    'maxEndpoints',
    'retry',
    'hideAnswers',
  ],
  api: ['path', 'version', 'guards', 'interceptors', 'only'],
};

/** Options whose behaviour comes with a later version; naming them beats "unknown". */
const LATER: readonly string[] = ['dashboard', 'remoteTypes', 'workers'];

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
export function count(value: unknown, what: string, least = 1, most = 2 ** 31 - 1): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < least || value > most) {
    throw invalid(`${what} is ${String(value)}: use a whole number from ${least} to ${most}.`);
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

export function oneOf<T extends string>(value: unknown, words: readonly T[], what: string): T {
  const word = words.find((each) => each === value);
  if (word === undefined) {
    throw invalid(
      `${what} is ${JSON.stringify(value)}: use ${words.map((each) => `'${each}'`).join(', ')}.`,
    );
  }
  return word;
}

export function isVersion(version: unknown): boolean {
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

export function list(value: unknown, what: string): readonly unknown[] {
  if (value !== undefined && !Array.isArray(value)) {
    throw invalid(`${what} is no array: give one.`);
  }
  return (value as readonly unknown[] | undefined) ?? [];
}

/** Each a class, or an instance that has the method. */
export function enhancers(value: unknown, what: string, method: string): void {
  list(value, what).forEach((each, index) => {
    const isInstance = typeof each === 'object' && each !== null && method in each;
    if (typeof each !== 'function' && !isInstance) {
      throw invalid(`${what}[${index}] is no class and has no ${method}: give one or the other.`);
    }
  });
}

/** Nobody means a default by null: `api: null` looks like an API that is switched off. */
export function refuseNull(options: object): void {
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

export function text(value: unknown, what: string): string {
  if (typeof value !== 'string' || value === '') {
    throw invalid(`${what} is ${JSON.stringify(value) ?? 'undefined'}: give a text.`);
  }
  return value;
}

export function optionalText(value: unknown, what: string): string | undefined {
  return value === undefined ? undefined : text(value, what);
}

export function callable<T>(value: T, what: string): T {
  if (value !== undefined && typeof value !== 'function') {
    throw invalid(`${what} is a ${typeof value}: give a function.`);
  }
  return value;
}

export function atLeast(least: number, value: Duration, what: string): number {
  const ms = durationMs(value, what, 'invalid_options');
  if (ms < least) {
    throw invalid(`${what} is ${String(value)}: use at least ${least / 1000} s.`);
  }
  return ms;
}
