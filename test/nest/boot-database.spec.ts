import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { setTimeout as pause } from 'node:timers/promises';
import { describe, expect, inject, it } from 'vitest';
import { JobsModule, JobType, type JobHandler } from '../../lib/index.js';
import { BootedJobs, bootJobs, CapturedLog, QUICK } from '../support/boot.js';
import { startProxy } from '../postgres/support/proxy.js';
import { closeLater } from '../support/cleanup.js';
import {
  createDatabase,
  driverUnderTest,
  isFile,
  missingDatabase,
  type TestDatabase,
} from '../support/databases.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, within } from '../support/waiting.js';

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): string {
    return 'fine';
  }
}

describe('a database that cannot be reached at boot', () => {
  it('is no boot error: calls say database_unavailable, and all works once it is there', async () => {
    const database = createDatabase();
    const { name, create } = missingDatabase(database);
    class Root {}
    const log = new CapturedLog();
    const context = await within(
      NestFactory.createApplicationContext(
        {
          module: Root,
          imports: [
            // The host decides not to wait for its database; ours never waits.
            TypeOrmModule.forRoot({
              ...database.options({ database: name }),
              manualInitialization: true,
            }),
            JobsModule.forRoot(QUICK),
          ],
          providers: [Plain],
        },
        { logger: log, abortOnError: false },
      ),
      'boot',
      5000,
    );
    const app = new BootedJobs(context, database, log);
    closeLater(() => app.close(), 'test');

    const error = await refusal(app.jobs.enqueue(Plain));
    expect(error).toMatchObject({ code: 'database_unavailable', status: 503 });
    expect((await app.stats.health()).status).toBe('down');

    create();
    await until(
      async () =>
        (await codeOf(app.jobs.enqueue(Plain, undefined, { idempotencyKey: 'k' }))) === 'ok',
      'it',
    );
    const job = await app.run(Plain);
    expect(job.result).toBe('fine');
    await until(async () => (await app.stats.health()).status === 'ok', 'health');
    // What is wrong is said once, however often it is tried again.
    expect(log.texts('error')).toHaveLength(1);
  });
});

describe('an engine that was closed', () => {
  it('says so to whoever calls it', async () => {
    const app = await bootJobs({ types: [Plain] });
    await app.close();
    for (const call of [
      () => app.jobs.enqueue(Plain),
      () => app.jobs.list(),
      () => app.queues.list(),
    ]) {
      expect(await refusal(call())).toMatchObject({
        code: 'database_unavailable',
        message: expect.stringContaining('has been closed') as string,
      });
    }
  });
});

describe('the schema', () => {
  it('that is not there, where somebody else makes it, is a boot error that says how', async () => {
    const options = { database: { migrate: 'off' } };
    const database = createDatabase();
    const error = await refusal(bootJobs({ types: [Plain], options, database }));
    database.abandon();
    expect(error).toMatchObject({
      code: 'schema_mismatch',
      message: expect.stringContaining('migrationSql') as string,
    });
    await (await bootJobs({ types: [Plain], database })).close();
    const app = await bootJobs({ types: [Plain], options, database });
    expect((await app.run(Plain)).result).toBe('fine');
  });

  it('that is newer than this version is a boot error that says so', async () => {
    const database = await newerDatabase();
    await expect(bootJobs({ types: [Plain], database })).rejects.toMatchObject({
      code: 'schema_mismatch',
      message: expect.stringMatching(/newer/i) as string,
    });
  });

  if (!isFile) {
    it('that is newer is a boot error, however long the server takes to say so', async () => {
      const database = await newerDatabase();
      const isMariadb = driverUnderTest === 'mariadb';
      const proxy = await startProxy(inject(isMariadb ? 'mariadb' : 'postgres'));
      // Longer than boot waits for a server that does not answer.
      const slow = proxy.holdUp(isMariadb ? 'information_schema.tables' : 'to_regclass', () =>
        pause(1500),
      );
      const boot = bootJobs({ types: [Plain], database, typeorm: proxy.options });
      expect(await refusal(boot)).toMatchObject({ code: 'schema_mismatch' });
      await slow;
    });
  }

  it('that is missing is a boot error with migrate: check, and made with auto', async () => {
    const database = createDatabase();
    await expect(
      bootJobs({ types: [Plain], database, options: { database: { migrate: 'check' } } }),
    ).rejects.toMatchObject({ code: 'schema_mismatch' });
    const app = await bootJobs({ types: [Plain], database });
    expect((await app.run(Plain)).status).toBe('completed');
    const checked = await bootJobs({
      types: [Plain],
      database,
      options: { database: { migrate: 'check' } },
    });
    expect((await checked.run(Plain)).status).toBe('completed');
  });

  it('is made once when several applications boot at the same time', async () => {
    const database = createDatabase();
    const apps = await Promise.all(
      Array.from({ length: 10 }, () => bootJobs({ types: [Plain], database })),
    );
    const jobs = await Promise.all(apps.map((app) => app.run(Plain)));
    expect(jobs.map((job) => job.result)).toEqual(Array.from({ length: 10 }, () => 'fine'));
    expect(apps.flatMap((app) => app.log.texts('error'))).toEqual([]);
    const rows = await apps[0]?.sql<{ version: number }>('SELECT version FROM job_migrations');
    const versions = (rows ?? []).map(({ version }) => version).filter((version) => version > 0);
    expect(versions.toSorted((a, b) => a - b)).toEqual(versions.map((_, index) => index + 1));
  }, 30_000);

  if (driverUnderTest !== 'mariadb') {
    it('is made as a whole or not at all', async () => {
      const database = createDatabase();
      const { DataSource } = await import('typeorm');
      const source = await new DataSource(
        database.options() as ConstructorParameters<typeof DataSource>[0],
      ).initialize();
      // Half way something of the application's has that name.
      await source.query('CREATE TABLE job_types (mine INTEGER)');
      await expect(bootJobs({ types: [Plain], database })).rejects.toThrow(/job_types/);
      const tables = (await source.query(
        isFile
          ? `SELECT name FROM sqlite_master WHERE type <> 'index'`
          : `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'`,
      )) as { name: string }[];
      expect(tables).toEqual([{ name: 'job_types' }]);
      await source.query('DROP TABLE job_types');
      await source.destroy();
      const app = await bootJobs({ types: [Plain], database });
      expect((await app.run(Plain)).status).toBe('completed');
    });
  }
});

/** A database whose schema is that of a version far ahead, in whatever way it is recorded. */
async function newerDatabase(): Promise<TestDatabase> {
  const app = await bootJobs({ types: [Plain], database: createDatabase() });
  expect((await app.run(Plain)).status).toBe('completed');
  const [table] = await app.sql<{ name: string }>(
    isFile
      ? `SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'job%' AND name LIKE '%migration%'`
      : `SELECT table_name AS name FROM information_schema.tables WHERE table_name LIKE 'job%migration%'
           AND table_schema = ${driverUnderTest === 'mariadb' ? 'DATABASE()' : 'current_schema()'}`,
  );
  expect(table).toBeDefined();
  const [before = {}] = await app.sql(`SELECT * FROM ${table?.name ?? ''}`);
  const columns = Object.keys(before);
  expect(columns.length).toBeGreaterThan(0);
  const values = columns.map((column) =>
    /name/i.test(column) ? `'FromTheFuture9999'` : '999999999',
  );
  await app.sql(
    `INSERT INTO ${table?.name ?? ''} (${columns.join(', ')}) VALUES (${values.join(', ')})`,
  );
  await app.close();
  return app.database;
}
