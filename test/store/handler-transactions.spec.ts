import { describe, expect, it } from 'vitest';
import type { TransactionRun } from '../../lib/store/store.js';
import { SqliteStore } from '../../lib/store/typeorm/sqlite-store.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { handlerGate } from '../support/gate.js';
import { codeOf } from '../support/refusals.js';
import { within } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): unknown {
    return gate.hold(ctx);
  }
}

/** A run at work, and a further store on its database. */
async function runAndStore(): Promise<{
  app: BootedJobs;
  store: SqliteStore;
  run: TransactionRun;
}> {
  const app = await bootJobs({ types: [Held] });
  const { id } = await app.jobs.enqueue(Held);
  await gate.entry(id);
  const [row] = await app.sql<{ run_id: string }>(`SELECT run_id FROM jobs`);
  const store = new SqliteStore(app.dataSource, { migrate: 'off' });
  await store.open();
  return {
    app,
    store,
    run: {
      jobId: id,
      runId: row?.run_id ?? '',
      over: new AbortController().signal,
      leaseMs: 10_000,
    },
  };
}

describe('a store that closes', () => {
  it('ends a transaction that nobody else ends, and begins no further one', async () => {
    const { app, store, run } = await runAndStore();
    let hasBegun: () => void = () => undefined;
    const begun = new Promise<void>((resolve) => (hasBegun = resolve));
    const hanging = codeOf(
      store.transaction(run, () => {
        hasBegun();
        return new Promise(() => undefined);
      }),
    );
    await begun;
    const waiting = codeOf(store.transaction(run, () => Promise.resolve()));
    await within(store.close(), 'close()', 6000);
    expect([await hanging, await waiting]).toEqual(['lease_lost', 'lease_lost']);
    expect(await codeOf(store.transaction(run, () => Promise.resolve()))).toBe('lease_lost');
    // The lock is everybody's again.
    await app.sql(`UPDATE job_queues SET paused = paused`);
  });
});

describe('transactions one after the other', () => {
  it('leave nothing behind with the run that makes them', async () => {
    const { store, run } = await runAndStore();
    let listeners = 0;
    const { over } = run;
    const add = over.addEventListener.bind(over);
    const remove = over.removeEventListener.bind(over);
    over.addEventListener = (...args: Parameters<typeof add>): void => {
      listeners += 1;
      add(...args);
    };
    over.removeEventListener = (...args: Parameters<typeof remove>): void => {
      listeners -= 1;
      remove(...args);
    };
    for (let n = 0; n < 20; n += 1) {
      await store.transaction(run, () => Promise.resolve());
    }
    expect(listeners).toBe(0);
    await store.close();
  });
});
