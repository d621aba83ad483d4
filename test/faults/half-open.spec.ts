import { expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { closeLater } from '../support/cleanup.js';
import { until, waitForEnd } from '../support/waiting.js';
import { createFaultDatabase, kindsHere, type Kind } from './support/fault-database.js';
import { FaultProxy } from './support/fault-proxy.js';

@JobType({ name: 'quick' })
class Quick implements JobHandler {
  execute(): string {
    return 'done';
  }
}

/** Of the library's own; the rest is for a slow machine. */
const PATIENCE_MS = 60_000;
const all = (): number => 0;

async function isSurvivedOn(kind: Kind): Promise<void> {
  const database = await createFaultDatabase(kind);
  const proxy = await FaultProxy.start(database.port);
  closeLater(() => proxy.close(), 'test');
  const boot = { types: [Quick], database, typeorm: { port: proxy.port } };
  const app = await bootJobs(boot);
  expect((await app.run(Quick)).result).toBe('done');

  proxy.freeze(1, all);
  // Refused or not: somebody answers, and then work goes on by itself.
  await app.jobs.enqueue(Quick).catch(() => undefined);
  const { id } = await until(
    () => app.jobs.enqueue(Quick).catch(() => undefined),
    `${kind} to be reached again`,
    PATIENCE_MS,
  );
  expect((await waitForEnd(app.jobs, id, PATIENCE_MS)).result).toBe('done');

  proxy.freeze(1, all);
  const asked = performance.now();
  await app.context.close();
  expect(performance.now() - asked).toBeLessThan(PATIENCE_MS / 2);
}

it(
  'a server that vanishes without a word is given up: work goes on over new connections, and a close ends',
  async () => {
    await Promise.all(kindsHere.filter((kind) => kind !== 'sqlite').map(isSurvivedOn));
  },
  PATIENCE_MS * 2,
);
