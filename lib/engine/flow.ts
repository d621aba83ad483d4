import { isJobsError, JobsError } from '../model/errors.js';
import type { DependsOn } from '../model/enqueue-options.js';
import type { FlowJob, JobFlow } from '../model/flow.js';
import type { EnqueueItem } from '../model/job-type.js';
import type { DraftDependency } from '../store/store.js';
import { checkedOnFailure } from './draft-extras.js';
import { badField } from './enqueue-checks.js';

/** A graph as a call that stores many jobs: those that are waited for come first. */
export interface FlowPlan {
  /** The keys of the items, in their order. */
  readonly keys: readonly string[];
  readonly items: readonly EnqueueItem[];
  /** What each item waits for among the others, by their places. */
  readonly among: readonly (readonly DraftDependency[])[];
}

/**
 * Puts the jobs of a graph in an order in which each comes behind those that it waits for. What it
 * names that is no key of the graph is the id of a job that is there.
 *
 * @throws JobsError `invalid_request` for a circle
 */
export function planFlow(flow: JobFlow): FlowPlan {
  if (typeof flow !== 'object' || flow === null || Array.isArray(flow)) {
    throw badField('flow', 'must be an object: a job for each key');
  }
  const jobs = new Map(
    Object.entries(flow).map(([key, job]) => [key, checkedParts(key, job, flow)]),
  );
  const keys = inOrder(jobs);
  const places = new Map(keys.map((key, at) => [key, at]));
  const inPlace = keys.map((key) => jobs.get(key) as FlowParts);
  return {
    keys,
    items: inPlace.map(({ item }) => item),
    among: inPlace.map(({ waitsFor }) =>
      waitsFor.map(({ key, onFailure }) => ({ on: places.get(key) as number, onFailure })),
    ),
  };
}

interface FlowParts {
  readonly item: EnqueueItem;
  readonly waitsFor: readonly {
    readonly key: string;
    readonly onFailure: DraftDependency['onFailure'];
  }[];
}

function checkedParts(key: string, job: FlowJob, flow: JobFlow): FlowParts {
  try {
    return partsOf(key, job, flow);
  } catch (error) {
    throw isJobsError(error)
      ? new JobsError(error.code, error.message, {
          cause: error,
          ...(error.errors === undefined ? {} : { errors: error.errors }),
          members: { ...error.members, key },
        })
      : error;
  }
}

function partsOf(key: string, job: FlowJob, flow: JobFlow): FlowParts {
  if (typeof job !== 'object' || job === null) {
    throw badField(key, 'must be a job: { type, params, dependsOn }');
  }
  const { dependsOn = [], ...item } = job;
  if (!Array.isArray(dependsOn)) {
    throw badField(`${key}.dependsOn`, 'must be an array of keys of this flow, or ids of jobs');
  }
  const ids: DependsOn[] = [];
  const waitsFor: { key: string; onFailure: DraftDependency['onFailure'] }[] = [];
  for (const [at, each] of (dependsOn as readonly DependsOn[]).entries()) {
    const name: unknown = typeof each === 'object' && each !== null ? each.id : each;
    if (typeof name === 'string' && Object.hasOwn(flow, name)) {
      const onFailure = typeof each === 'object' ? (each.onFailure ?? 'fail') : 'fail';
      waitsFor.push({
        key: name,
        onFailure: checkedOnFailure(onFailure, `${key}.dependsOn.${at}`),
      });
    } else {
      ids.push(each);
    }
  }
  return { item: ids.length === 0 ? item : { ...item, dependsOn: ids }, waitsFor };
}

/** Kahn's order, by the order of the graph's keys where that leaves a choice. */
function inOrder(jobs: ReadonlyMap<string, FlowParts>): readonly string[] {
  const open = new Map<string, number>();
  const dependents = new Map<string, string[]>();
  for (const [key, { waitsFor }] of jobs) {
    const parents = new Set(waitsFor.map((each) => each.key));
    open.set(key, parents.size);
    for (const parent of parents) {
      const known = dependents.get(parent);
      if (known === undefined) {
        dependents.set(parent, [key]);
      } else {
        known.push(key);
      }
    }
  }
  const order = [...jobs.keys()].filter((key) => open.get(key) === 0);
  // Grows while it is walked through.
  for (const key of order) {
    for (const dependent of dependents.get(key) ?? []) {
      const left = (open.get(dependent) ?? 0) - 1;
      open.set(dependent, left);
      if (left === 0) {
        order.push(dependent);
      }
    }
  }
  if (order.length < jobs.size) {
    throw circle(jobs, new Set(order));
  }
  return order;
}

/** Whoever is left waits for somebody who is left: following that leads into a circle. */
function circle(jobs: ReadonlyMap<string, FlowParts>, placed: ReadonlySet<string>): JobsError {
  const path: string[] = [];
  let key = [...jobs.keys()].find((each) => !placed.has(each));
  while (key !== undefined && !path.includes(key)) {
    path.push(key);
    key = jobs.get(key)?.waitsFor.find((each) => !placed.has(each.key))?.key;
  }
  const names = [...path.slice(path.indexOf(key ?? '')), key ?? ''].slice(0, 10).join(' → ');
  return new JobsError(
    'invalid_request',
    `The jobs of this flow wait for each other in a circle (${names}), so none was stored. Take one of these dependencies out.`,
    {
      errors: [{ field: `${key ?? ''}.dependsOn`, message: `is part of the circle ${names}` }],
      members: { key: key ?? '' },
    },
  );
}

/** The error of an item under the key that the caller knows it by. */
export function atKey(error: unknown, keys: readonly string[]): unknown {
  const index = isJobsError(error) ? error.members['index'] : undefined;
  const at = typeof index === 'number' ? index : -1;
  const key = keys[at];
  if (!isJobsError(error) || key === undefined) {
    return error;
  }
  const { index: _, ...members } = error.members;
  // What else the text says may look like a place, and is the caller's own.
  const place = `jobs.${at}`;
  const renamed = (text: string): string =>
    text.startsWith(place) ? `${key}${text.slice(place.length)}` : text;
  return new JobsError(error.code, renamed(error.message), {
    cause: error.cause,
    errors: (error.errors ?? []).map((each) => ({ ...each, field: renamed(each.field) })),
    members: { ...members, key },
    ...(error.retryAfterSec === undefined ? {} : { retryAfterSec: error.retryAfterSec }),
  });
}
