import type { TypeOrmModuleOptions } from '@nestjs/typeorm';
import { expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { waitForEnd, waitForStatus, within } from '../support/waiting.js';
import { startPooler, type Pooler } from './support/pooler.js';

const gate = handlerGate();

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  async execute(ctx: JobContext): Promise<number> {
    ctx.log.info('at work');
    await ctx.transaction((manager) => ctx.enqueue(Child, undefined, { manager } as object));
    return 1;
  }
}

@JobType({ name: 'child' })
class Child implements JobHandler {
  execute(): void {}
}

@JobType({ name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

const types = [Plain, Child, Held];

async function poolerOf(database: TestDatabase): Promise<Pooler> {
  const { database: name }: TypeOrmModuleOptions & { database?: unknown } = database.options();
  return startPooler(String(name), 3);
}

it('a pooler in transaction mode is noticed, and jobs run as ever through it', async () => {
  const database = createDatabase();
  const pooler = await poolerOf(database);
  const typeorm = { ...pooler.options, extra: { max: 4 } };
  const worker = await bootJobs({ types, database, typeorm });
  const producer = await bootJobs({ types, database, typeorm, options: { role: 'producer' } });
  const ids = (
    await producer.jobs.enqueueMany(Array.from({ length: 40 }, () => ({ type: Plain })))
  ).map((each) => each.job?.id ?? '');
  for (const id of ids) {
    expect(await within(waitForEnd(producer.jobs, id), 'the end', 10_000)).toMatchObject({
      status: 'completed',
      lost: 0,
    });
  }
  // Nest has one logger for all applications of a process.
  const warnings = [worker, producer].flatMap((app) => app.log.texts('warn'));
  expect(warnings.join()).toMatch(/pooler such as PgBouncer/);
  expect((await producer.jobs.logs(ids[0] ?? '')).lines).toHaveLength(1);

  const held = await producer.jobs.enqueue(Held, undefined, { idempotencyKey: 'one' });
  await gate.entry(held.id);
  await producer.jobs.cancel(held.id);
  await waitForStatus(producer.jobs, held.id, 'canceled');
});

it('leaves nothing of the engine in sessions that the application is given next', async () => {
  const database = createDatabase();
  const pooler = await poolerOf(database);
  const app = await bootJobs({ types, database, typeorm: pooler.options });
  expect((await app.run(Plain)).status).toBe('completed');
  for (let n = 0; n < 5; n += 1) {
    const seen = await app.sql(
      `SELECT current_setting('enable_seqscan') AS scans, current_setting('lock_timeout') AS timeout,
         (SELECT count(*) FROM pg_prepared_statements) AS prepared, (SELECT count(*) FROM pg_listening_channels()) AS channels`,
    );
    expect(seen).toEqual([{ scans: 'on', timeout: '0', prepared: 0, channels: 0 }]);
  }
});
