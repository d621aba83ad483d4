import type { JobEntity } from '../../entities/job.entity.js';
import { isJobsError } from '../../model/errors.js';
import type { Session } from '../dialects/session.js';
import { quietly, type Script } from '../dialects/sql.js';
import type { DeliveryEnd, TakenDelivery, WebhookStore } from '../webhooks.js';
import type { BatchKind } from '../write-batch.js';
import type { Writer } from '../writer.js';
import { listDeliveries } from './delivery-lists.script.js';
import { DeliveryScripts } from './delivery.scripts.js';
import type { EventScripts } from './event.scripts.js';
import { noteDeletedEndpoint } from './purge.script.js';
import { readsOf } from './reads.js';
import type { TableNames } from './table-names.js';
import { recordTest } from './test-deliveries.script.js';
import { WebhookScripts } from './webhook.scripts.js';

/** Slices of a deleted endpoint's history that go at once. */
const REMOVED_AT_ONCE = 2;

interface Taking {
  readonly wanted: Parameters<WebhookStore['take']>[0];
  readonly holder: string;
  readonly leaseMs: number;
}

/** Builds the part of the store for events, endpoints and deliveries. */
export function webhookStore(
  tables: TableNames,
  events: EventScripts,
  session: () => Session,
  writer: () => Writer,
): WebhookStore {
  const endpoints = new WebhookScripts(tables);
  const deliveries = new DeliveryScripts(tables);
  const claimedKind: BatchKind<readonly JobEntity[], undefined> = {
    name: 'claimed events',
    rank: 25,
    maxItems: 20,
    isQuiet: true,
    *script(claims, now) {
      yield* events.claimed(claims.flat(), now);
      return claims.map(() => undefined);
    },
  };
  const takeKind: BatchKind<Taking, readonly TakenDelivery[]> = {
    name: 'take deliveries',
    rank: 92,
    maxItems: 1,
    isQuiet: true,
    *script(items, now) {
      const taken = [];
      for (const { wanted, holder, leaseMs } of items) {
        taken.push(yield* deliveries.take(wanted, holder, leaseMs, now));
      }
      return taken;
    },
  };
  const settleKind: BatchKind<DeliveryEnd, undefined> = {
    name: 'settle deliveries',
    rank: 60,
    maxItems: 200,
    isQuiet: true,
    *script(ends, now) {
      yield* deliveries.settle(ends, now);
      return ends.map(() => undefined);
    },
  };
  const read = readsOf(session);
  const write = <T>(script: (nowMs: number) => Script<T>): Promise<T> =>
    Promise.resolve().then(() => writer().write(script, 'caller'));
  const engineWrite = <T>(script: (nowMs: number) => Script<T>): Promise<T> =>
    Promise.resolve().then(() => writer().write(quietly(script), 'engine'));
  return {
    isHeard: (tenantId) => events.isHeard(tenantId),
    claimed: async (jobs) => writer().add(claimedKind, jobs, 'engine'),
    events: (jobSeq, after, upTo) => read(() => events.read(jobSeq, after, upTo)),
    list: (tenantId) => read(() => endpoints.list(tenantId)),
    find: (id) => read(() => endpoints.find(id)),
    add: (endpoint, most) => write((now) => endpoints.add(endpoint, most, now)),
    change: (id, change) => write((now) => endpoints.change(id, change, now)),
    declare: (given, keptMs) =>
      Promise.resolve().then(() =>
        writer().write((now) => endpoints.declare(given, keptMs, now), 'engine'),
      ),
    async remove(id) {
      await write(function* () {
        yield* endpoints.remove(id);
        yield* noteDeletedEndpoint(tables, id);
      });
      try {
        let slices = REMOVED_AT_ONCE;
        while (slices > 0 && (await write(quietly(() => deliveries.removeOf(id))))) {
          slices -= 1; // The rest is swept, so that nobody waits for a long history.
        }
      } catch (error) {
        if (!isJobsError(error) || error.code !== 'database_busy') {
          throw error;
        }
        // So is what somebody has locked.
      }
    },
    giveUp: (end) =>
      Promise.resolve().then(() => writer().write((now) => deliveries.giveUp(end, now), 'engine')),
    lanes: (after) => read(() => deliveries.lanes(after)),
    take: async (wanted, holder, leaseMs) =>
      writer().add(takeKind, { wanted, holder, leaseMs }, 'engine'),
    settle: async (end) => writer().add(settleKind, end, 'engine'),
    release: ({ id, answer, holder }) =>
      engineWrite((now) => deliveries.release(id, answer, holder, now)),
    cutOff: ({ id, holder }) => engineWrite((now) => deliveries.cutOff(id, holder, now)),
    deliveries: (request) => read(() => listDeliveries(tables, request)),
    delivery: (id) => read(() => deliveries.find(id)),
    record: (delivery) => write((now) => recordTest(tables, delivery, now)),
    redeliver: (id) => write((now) => deliveries.redeliver(id, now)),
    sealed: (after, most) => read(() => endpoints.sealed(after, most)),
    reseal: (id, before, after) => engineWrite(() => endpoints.reseal(id, before, after)),
    key: (name, made) => engineWrite(() => endpoints.key(name, made)),
  };
}
