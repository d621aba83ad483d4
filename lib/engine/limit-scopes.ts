import { typeScope } from '../model/limits.js';
import type { EngineParts } from './engine-parts.js';
import type { Duty } from './loop.js';

const LOOK_EVERY_MS = 60_000;
/** Well within the day that a scope is remembered for. */
const DECLARE_EVERY_MS = 3_600_000;

/**
 * Keeps the limits that this process declares from being forgotten. Those that nobody declares any
 * more are forgotten, and their queues are claimed from plainly again, which passes over jobs that
 * still have a key: while such jobs are in line, or come back to it, their type counts as limited.
 *
 * @param declared the scopes of limits that anybody has declared
 * @param tell looks which they are now
 */
export function limitScopes(
  { store, limits, handlers }: EngineParts,
  queues: () => Iterable<string>,
  declared: () => ReadonlySet<string>,
  tell: () => Promise<void>,
): Duty {
  let declaredAt = performance.now();
  return {
    name: 'limits',
    everyMs: LOOK_EVERY_MS,
    async runOnce() {
      if (performance.now() - declaredAt >= DECLARE_EVERY_MS) {
        await store.catalog.declare([], [], limits.scopes());
        declaredAt = performance.now();
      }
      const plain = [...queues()].filter(
        (name) => limits.ofQueue(name).size === 0 && !limits.isAmong(declared(), name),
      );
      const types = plain.flatMap((name) => handlers.idsOf(name));
      const keyed = types.length === 0 ? [] : await store.jobs.keyedTypes(types);
      if (keyed.length > 0) {
        await store.catalog.declare([], [], keyed.map(typeScope));
        await tell();
      }
      return undefined;
    },
  };
}
