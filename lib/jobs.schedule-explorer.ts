import type { Type } from '@nestjs/common';
import type { DiscoveryService } from '@nestjs/core';
import {
  cronsOf,
  type DeclaredCron,
  type JobCronOptions,
} from './decorators/job-cron.decorator.js';
import { schedulesOf } from './decorators/job-schedule.decorator.js';
import type { AnyHandler } from './engine/handlers.js';
import type { DeclaredSchedule } from './engine/scheduling.js';
import { invalid } from './jobs.option-checks.js';
import type { JobContext, JobTypeOptions } from './model/job-type.js';
import type { ScheduleInput, ScheduleOverlap } from './model/schedule.js';

type Wrapper = ReturnType<DiscoveryService['getProviders']>[number];

/** The schedules that a job type declares by `@JobSchedule`. */
export function schedulesOfType(
  handlerClass: Type,
  { group = 'default', name }: JobTypeOptions,
): readonly DeclaredSchedule[] {
  const type = `${group}:${name}`;
  return schedulesOf(handlerClass).map((options) => ({
    where: `@JobSchedule of ${handlerClass.name}`,
    input: { name: type, ...options, type },
  }));
}

/** @throws JobsError `invalid_options` for `@JobSchedule` on what is no job type */
export function refuseSchedules(target: unknown): void {
  if (typeof target === 'function' && schedulesOf(target).length > 0) {
    throw invalid(
      `@JobSchedule of ${target.name}: the class is no job type. Add @JobType({ name: … }), or put @JobCron on a method.`,
    );
  }
}

/** A method that carries `@JobCron`, as a job type and its schedules. */
export interface CronMethod {
  readonly wrapper: Wrapper;
  readonly owner: Type;
  readonly where: string;
  readonly type: JobTypeOptions;
  /** By which the registry knows it. */
  readonly handlerClass: Type;
  readonly schedules: readonly DeclaredSchedule[];
  /** What runs its jobs, for an instance of its class. */
  handlerOf(instance: unknown): AnyHandler;
}

/** Every such method, once for each instance that has it. */
export function* cronMethods(wrappers: readonly Wrapper[]): Generator<CronMethod> {
  const seen = new Set<unknown>();
  for (const wrapper of wrappers) {
    const instance: unknown = wrapper.isDependencyTreeStatic() ? wrapper.instance : undefined;
    const prototype: unknown = prototypeOf(instance, wrapper.metatype);
    const one = instance ?? wrapper.metatype;
    if (typeof prototype !== 'object' || prototype === null || seen.has(one)) {
      continue;
    }
    seen.add(one);
    const owner = prototype.constructor as Type;
    for (const [key, method, crons] of cronsOfPrototype(prototype)) {
      yield cronMethod(wrapper, owner, key, method, crons);
    }
  }
}

function prototypeOf(instance: unknown, metatype: unknown): unknown {
  if (typeof instance === 'object' && instance !== null) {
    return Object.getPrototypeOf(instance);
  }
  return typeof metatype === 'function' ? metatype.prototype : undefined;
}

type Method = (this: unknown, ctx: JobContext) => unknown;

/** Methods of a class and of those it extends, the nearest of a name; nothing is called, getters neither. */
function* cronsOfPrototype(
  prototype: object,
): Generator<readonly [key: string, method: Method, crons: readonly DeclaredCron[]]> {
  const seen = new Set<string>();
  let at: unknown = prototype;
  while (typeof at === 'object' && at !== null && at !== Object.prototype) {
    for (const [key, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      const method: unknown = value;
      const crons = cronsOf(method);
      if (!seen.has(key) && crons.length > 0) {
        yield [key, method as Method, crons];
      }
      seen.add(key);
    }
    at = Object.getPrototypeOf(at);
  }
}

function cronMethod(
  wrapper: Wrapper,
  owner: Type,
  key: string,
  method: Method,
  crons: readonly DeclaredCron[],
): CronMethod {
  const place = `${owner.name}.${key}`;
  const where = `@JobCron of ${place}`;
  const options = crons[0]?.options ?? {};
  crons.forEach((each) => checkKeys(each.options, where));
  const { name = place, group = 'default' } = options;
  const type = typeOf(options, TYPE_NAME.test(name) ? name : place);
  const handlerClass = { [place]: class extends CronHandler {} }[place] as Type;
  return {
    wrapper,
    owner,
    where,
    type,
    handlerClass,
    schedules: crons.map((cron) => ({
      where,
      input: scheduleOfCron(cron, cron.options.name ?? place, `${group}:${type.name}`, where),
      delayMs: delayOf(cron.options, where),
    })),
    handlerOf: (instance) => ({
      // What @Cron ignores, nobody has taken care to make JSON of.
      execute: async (ctx) => void (await method.call(instance, ctx)),
    }),
  };
}

/** Stands for a method where the registry wants a class; instances come from {@link CronMethod.handlerOf}. */
class CronHandler {
  execute(): void {}
}

const TYPE_NAME = /^[A-Za-z0-9_.-]{1,64}$/;

const KEYS: ReadonlySet<string> = new Set([
  'name',
  'timeZone',
  'utcOffset',
  'waitForCompletion',
  'disabled',
  'initialDelay',
  'unrefTimeout',
  'threshold',
  'group',
  'description',
  'timeout',
  'maxRetries',
  'retryDelay',
  'backoff',
  'retryOnTimeout',
  'startAt',
  'endAt',
  'overlap',
  'misfire',
]);

function checkKeys(options: object, where: string): void {
  for (const key of Object.keys(options)) {
    if (!KEYS.has(key)) {
      throw invalid(
        `${where}: the option "${key}" is unknown. Remove it, or use one of ${[...KEYS].join(', ')}.`,
      );
    }
  }
}

function typeOf(options: JobCronOptions, name: string): JobTypeOptions {
  const { group, description, timeout, maxRetries, retryDelay, backoff, retryOnTimeout } = options;
  return defined({
    name: name.replace(/[^A-Za-z0-9_.-]/g, '_').slice(0, 64),
    group,
    description,
    timeout,
    maxRetries,
    retryDelay,
    backoff,
    retryOnTimeout,
  });
}

function scheduleOfCron(
  { cronTime, options }: DeclaredCron,
  name: string,
  type: string,
  where: string,
): ScheduleInput {
  const { startAt, endAt, misfire } = options;
  const common = defined({
    name,
    type,
    overlap: overlapOf(options),
    misfire,
    // The code says whether it is paused as long as nobody else has.
    paused: options.disabled === true,
  });
  if (typeof cronTime === 'string') {
    return defined({ ...common, cron: cronTime, timeZone: zoneOf(options, where), startAt, endAt });
  }
  const at = cronTime instanceof Date ? cronTime : cronTime?.toJSDate?.();
  if (!(at instanceof Date) || Number.isNaN(at.getTime())) {
    throw invalid(`${where}: the time is neither a cron text nor a Date.`);
  }
  // Once: the second slot of the rate is after its end.
  return { ...common, every: '1d', startAt: at, endAt: at };
}

function overlapOf({ overlap, waitForCompletion }: JobCronOptions): ScheduleOverlap | undefined {
  return overlap ?? (waitForCompletion === false ? 'allow' : undefined);
}

function zoneOf({ timeZone, utcOffset }: JobCronOptions, where: string): string {
  if (utcOffset === undefined) {
    return timeZone ?? Intl.DateTimeFormat().resolvedOptions().timeZone;
  }
  if (timeZone !== undefined) {
    throw invalid(`${where}: timeZone and utcOffset say the same thing: give one of them.`);
  }
  if (!Number.isInteger(utcOffset) || Math.abs(utcOffset) > 14 * 60) {
    throw invalid(`${where}: utcOffset is ${String(utcOffset)}: give whole minutes, up to 840.`);
  }
  const minutes = Math.abs(utcOffset);
  const two = (value: number): string => String(value).padStart(2, '0');
  return `${utcOffset < 0 ? '-' : '+'}${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`;
}

function delayOf({ initialDelay = 0 }: JobCronOptions, where: string): number {
  if (typeof initialDelay !== 'number' || !(initialDelay >= 0)) {
    throw invalid(`${where}: initialDelay is ${String(initialDelay)}: give milliseconds.`);
  }
  return initialDelay;
}

/** The object without what is undefined. */
function defined<T extends object>(given: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  const entries = Object.entries(given).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [K in keyof T]: Exclude<T[K], undefined> };
}
