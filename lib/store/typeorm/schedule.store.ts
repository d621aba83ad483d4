import type { Session } from '../dialects/session.js';
import { quietly } from '../dialects/sql.js';
import type { Fired, Firing, ScheduleStore } from '../store.js';
import type { BatchKind } from '../write-batch.js';
import type { Writer } from '../writer.js';
import { readsOf } from './reads.js';
import type { RelatedInserts } from './related-inserts.js';
import { ScheduleScripts } from './schedule.scripts.js';
import { ScheduleTicks } from './schedule-ticks.script.js';
import type { TableNames } from './table-names.js';

/** Jobs of a schedule that are read at once. */
const OPEN_AT_ONCE = 500;

/** What the schedules' part of the store is built from. */
export interface ScheduleStoreParts {
  readonly tables: TableNames;
  readonly related: RelatedInserts;
  readonly session: () => Session;
  /** For what stores jobs. */
  readonly inserter: () => Writer;
  readonly aside: () => Writer;
  /** Jobs have come to stand in line, where claims do not find them by themselves. */
  readonly stored?: () => void;
}

/** Builds the schedules' part of the store. */
export function scheduleStore(parts: ScheduleStoreParts): ScheduleStore {
  const scripts = new ScheduleScripts(parts.tables);
  const ticks = new ScheduleTicks(parts.tables, scripts, parts.related);
  const aside = async (): Promise<Writer> => Promise.resolve(parts.aside());
  const read = readsOf(parts.session);
  const firing: BatchKind<readonly Firing[], readonly Fired[]> = {
    name: 'fire',
    rank: 50,
    maxItems: 1,
    isRepeatable: true,
    *script([firings = []], nowMs) {
      return [yield* ticks.fire(firings, nowMs)];
    },
  };
  return {
    change: async (tenantId, name, decide) =>
      (await aside()).write((now) => scripts.change(tenantId, name, decide, now), 'caller'),
    find: (tenantId, name) => read(() => scripts.find(tenantId, name)),
    list: (tenantId) => read(() => scripts.list(tenantId)),
    remove: async (tenantId, name, revision) =>
      (await aside()).write(() => scripts.remove(tenantId, name, revision), 'caller'),
    openJobs: (id, after) => read(() => scripts.openJobs(id, after, OPEN_AT_ONCE)),
    forgetJobs: async (id) =>
      (await aside()).write(
        quietly(() => scripts.forgetJobs(id)),
        'caller',
      ),
    standing: (types) => read(() => ticks.standing(JSON.stringify(types)), 'search'),
    claim: async (types, limit, forMs) => {
      const among = JSON.stringify(types);
      // Most looks find nothing: they take no lock, and tell nobody.
      const next = await read((now) => ticks.nextInMs(among, now));
      if (next !== 0) {
        return { due: [], nowMs: 0, nextInMs: next };
      }
      return (await aside()).write(function* (nowMs) {
        const due = yield* ticks.claim(among, limit, forMs, nowMs);
        // After some there may be more.
        const nextInMs = due.length > 0 ? 0 : yield* ticks.nextInMs(among, nowMs);
        return { due, nowMs, nextInMs };
      }, 'engine');
    },
    fire: async (firings, patience) => {
      const writer = await Promise.resolve(parts.inserter());
      const fired = await writer.add(firing, firings, patience);
      parts.stored?.();
      return fired;
    },
  };
}
