import { ON_FAILURE, VERDICT, type OnFailure } from '../model/dependencies.js';
import type { EnqueueOptions } from '../model/enqueue-options.js';
import type { UniqueClaim } from '../model/unique.js';
import { NIL_TENANT } from '../model/tenant.js';
import type { DraftDependency, DraftExtras, Store } from '../store/store.js';
import { badField } from './enqueue-checks.js';
import type { HookSender } from './hook-sender.js';

/** The most jobs that one may depend on. */
const MOST_DEPENDENCIES = 1000;
/** So many are compared with each other. */
const FEW = 8;

/** Who is told of a job. */
export interface Hearers {
  /** @throws JobsError `invalid_request` */
  readonly checkedHook: (url: unknown, field: string, tenantId: string) => string;
  readonly isHeard: (tenantId: string) => boolean;
}

/** Those who hear of the jobs of a store. */
export function hearersOf(store: Store, hookSender: HookSender | undefined): Hearers {
  return {
    checkedHook(url, field, tenantId) {
      if (hookSender === undefined) {
        throw badField(field, 'is not told anything by this process');
      }
      return hookSender.checkedHook(url, field, tenantId);
    },
    isHeard: (tenantId) => store.webhooks.isHeard(tenantId),
  };
}

/** What a request has to do with others; null when nothing. @throws JobsError `invalid_request` */
export function draftExtras(
  options: Omit<EnqueueOptions<unknown>, 'manager'>,
  among: readonly DraftDependency[] = [],
  { checkedHook, isHeard }: Hearers = NOBODY,
  scheduleId: string | null = null,
  uniqueClaim: UniqueClaim | null = null,
): DraftExtras | null {
  const tenantId = options.tenantId ?? NIL_TENANT;
  const statusHook =
    options.statusHook === undefined
      ? null
      : checkedHook(options.statusHook, 'statusHook', tenantId);
  const isToBeHeard = isHeard(tenantId);
  const dependsOn =
    options.dependsOn === undefined && among.length === 0
      ? NONE
      : strictest([...among, ...checkedDependencies(options.dependsOn ?? [])]);
  return dependsOn.length === 0 &&
    scheduleId === null &&
    uniqueClaim === null &&
    statusHook === null &&
    !isToBeHeard
    ? null
    : { dependsOn, uniqueClaim, statusHook, scheduleId, isHeard: isToBeHeard };
}

const NOBODY: Hearers = { checkedHook: String, isHeard: () => false };

const NONE: readonly DraftDependency[] = [];

function checkedDependencies(given: unknown): readonly DraftDependency[] {
  if (!Array.isArray(given) || given.length > MOST_DEPENDENCIES) {
    throw badField('dependsOn', `must be an array of at most ${MOST_DEPENDENCIES} ids of jobs`);
  }
  return given.map((each: unknown, index) => {
    const field = `dependsOn.${index}`;
    const { id, onFailure = 'fail' } = (
      typeof each === 'object' && each !== null ? each : { id: each }
    ) as { readonly id?: unknown; readonly onFailure?: unknown };
    if (typeof id !== 'string') {
      throw badField(field, 'must be the id of a job, or { id, onFailure }');
    }
    return { on: id.toLowerCase(), onFailure: checkedOnFailure(onFailure, field) };
  });
}

/** @throws JobsError `invalid_request` */
export function checkedOnFailure(value: unknown, field: string): OnFailure {
  const known = ON_FAILURE.find((each) => each === value);
  if (known === undefined) {
    throw badField(`${field}.onFailure`, `must be one of ${ON_FAILURE.join(', ')}`);
  }
  return known;
}

/** Each job once: of what is said twice, what is stricter. */
function strictest(all: readonly DraftDependency[]): readonly DraftDependency[] {
  if (
    all.length <= FEW &&
    all.every(({ on }, at) => all.findIndex((each) => each.on === on) === at)
  ) {
    return all;
  }
  const byJob = new Map<string | number, DraftDependency>();
  for (const each of all) {
    const before = byJob.get(each.on);
    if (before === undefined || VERDICT[before.onFailure] < VERDICT[each.onFailure]) {
      byJob.set(each.on, each);
    }
  }
  return [...byJob.values()];
}
