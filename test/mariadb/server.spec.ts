import type { Socket } from 'node:net';
import { DataSource } from 'typeorm';
import { describe, expect, inject, it } from 'vitest';
import {
  getQueueWorkerToken,
  JobType,
  SchedulesService,
  type Job,
  type JobContext,
  type JobHandler,
  type QueueWorker,
} from '../../lib/index.js';
import { EXTRA } from '../../lib/model/extras.js';
import { MysqlConnection } from '../../lib/store/dialects/mysql/connection.js';
import { clientMaker, type MysqlClient } from '../../lib/store/dialects/mysql/mysql2.js';
import { seqOfId } from '../../lib/store/dialects/shared/row-numbers.js';
import { MYSQL_MIGRATIONS } from '../../lib/store/migrations/index.js';
import { MysqlStore } from '../../lib/store/typeorm/mysql-store.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { ChildApplication } from '../support/children.js';
import { FaultProxy } from '../faults/support/fault-proxy.js';
import { startProxy } from '../postgres/support/proxy.js';
import { closeLater } from '../support/cleanup.js';
import { createDatabase } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { askMariadb } from '../support/mariadb.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus, within } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ name: 'plain', params: undefined })
class Plain implements JobHandler {
  execute(ctx: JobContext): unknown {
    return ctx.params;
  }
}

@JobType({ name: 'held', suspendable: true })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

const types = [Plain, Held];

/** What means something else in some mode, character set or collation. */
const TEXTS: readonly string[] = [
  `'; DROP TABLE jobs; --`,
  `back\\slash "double" 'single' \`tick\` ? (?*) %_`,
  'trailing ',
  'ÄÖÜ ß é 漢字 😀 \u{10FFFF}',
  'line\nbreak\tand\u0001control',
];

describe('a row', () => {
  it('has room from its beginning for what says that others wait for it', async () => {
    const app = await bootJobs({ types, options: { role: 'producer' } });
    const { id } = await app.jobs.enqueue(Plain, {});
    const marks = `SELECT extras FROM jobs WHERE job_id = '${id}'`;
    expect(await app.sql(marks)).toEqual([{ extras: 0 }]);
    await app.jobs.enqueue(Plain, {}, { dependsOn: [id] });
    expect(await app.sql(marks)).toEqual([{ extras: EXTRA.dependents }]);
  });
});

describe('texts', () => {
  it.each(TEXTS)('are kept as they are, whatever the mode of the session: %j', async (text) => {
    const app = await bootJobs({ types });
    await app.dataSource.transaction(async (manager) => {
      await manager.query(
        `SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES,PIPES_AS_CONCAT', time_zone = '+05:30'`,
      );
      const options = {
        manager,
        idempotencyKey: text,
        tags: [text.slice(0, 64)],
        userId: text.slice(0, 64),
      };
      const job = await app.jobs.enqueue(Plain, text, options);
      expect(await app.jobs.enqueue(Plain, text, options)).toMatchObject({ id: job.id });
    });
    const found = await app.jobs.findByIdempotencyKey(text);
    expect(found).toMatchObject({ params: text, tags: [text], userId: text });
    expect((await app.jobs.list({ tag: text })).total).toBe(1);
    expect((await app.jobs.list({ userId: text, idempotencyKey: text })).total).toBe(1);
    expect((await app.jobs.list({ idempotencyKey: `${text} ` })).total).toBe(0);
    expect((await waitForEnd(app.jobs, found?.id ?? '')).result).toBe(text);
  });

  it('of many megabytes in one call are stored in several statements', async () => {
    const app = await bootJobs({ types, options: { role: 'producer' } });
    const wide = 'é'.repeat(120_000);
    const items = Array.from({ length: 60 }, (_, n) => ({ type: Plain, params: `${n} ${wide}` }));
    const stored = await app.jobs.enqueueMany(items);
    expect(stored.every(({ outcome }) => outcome === 'created')).toBe(true);
    expect((await app.jobs.get(stored[59]?.job?.id ?? '')).params).toBe(`59 ${wide}`);
  });
});

describe('the answer to the end of runs that is lost after the server has committed', () => {
  it.each([
    ['one', 1, 'COMMIT'],
    ['several', 3, 'lost on the way'],
  ])('leaves %s that ended as it did, told like any other', async (_, count, marker) => {
    const proxy = await startProxy(inject('mariadb'));
    const app = await bootJobs({ types, typeorm: proxy.options });
    const told: string[] = [];
    const watching = app
      .get<QueueWorker>(getQueueWorkerToken('default'))
      .events$.subscribe(({ jobId, status }) => status === 'completed' && told.push(jobId));
    closeLater(() => watching.unsubscribe(), 'test');
    const jobs = await app.jobs.enqueueMany(
      Array.from({ length: count }, () => ({ type: Held, params: 'held' })),
    );
    const ids = jobs.map(({ job }) => job?.id ?? '');
    const entries = await Promise.all(ids.map((id) => gate.entry(id)));
    const cut = proxy.cutAnswerTo(marker, marker === 'COMMIT' ? 'lost on the way' : undefined);
    entries.forEach(({ release }) => release('lost on the way'));
    await cut;
    for (const id of ids) {
      expect(await waitForEnd(app.jobs, id)).toMatchObject({
        status: 'completed',
        result: 'lost on the way',
        lost: 0,
      });
    }
    await until(() => told.length === count, 'the end of each, told once');
    expect(told.toSorted()).toEqual(ids.toSorted());
    expect(app.log.texts('warn').filter((text) => text.includes('too late'))).toEqual([]);
  });
});

describe('an answer to a cancel that is lost', () => {
  it.each([
    ['after the server has committed', 'COMMIT', 'canceled', /not known whether it was/],
    ['before it was told to commit', undefined, 'waiting', /nothing was stored/],
  ] as const)('%s: the caller is told what is known', async (_, marker, status, message) => {
    const proxy = await startProxy(inject('mariadb'));
    const app = await bootJobs({ types, options: { role: 'producer' }, typeorm: proxy.options });
    const { id } = await app.jobs.enqueue(Plain);
    const cut =
      marker === undefined
        ? proxy.cutAnswerTo('lost on the way')
        : proxy.cutAnswerTo(marker, 'lost on the way');
    const error = await refusal(app.jobs.cancel(id, { reason: 'lost on the way' }));
    await cut;
    expect(error).toMatchObject({ code: 'database_unavailable', retryAfterSec: 5 });
    expect(error.message).toMatch(message);
    expect(await app.jobs.get(id)).toMatchObject({ status });
  });
});

describe('an answer to the start of a schedule that is lost', () => {
  it('makes one job of a schedule that is run now, which is told like any other', async () => {
    const proxy = await startProxy(inject('mariadb'));
    const app = await bootJobs({ types, options: { role: 'producer' }, typeorm: proxy.options });
    const schedules = app.get(SchedulesService);
    const params = { n: 'lost on the way' };
    await schedules.upsert({ name: 's', type: Plain, every: '1h', overlap: 'allow', params });
    const cut = proxy.cutAnswerTo('COMMIT', 'lost on the way');
    const job = await schedules.runNow('s');
    await cut;
    expect(job).toMatchObject({ outcome: 'created', params });
    expect((await app.jobs.list({ kind: 'periodic' })).jobs.map(({ id }) => id)).toEqual([job.id]);
    expect(await schedules.get('s')).toMatchObject({ lastJobId: job.id });
  });
});

describe('ten processes that boot at once', () => {
  it('make the tables once, also where one of them was ended in the middle', async () => {
    const database = createDatabase();
    const first = await bootJobs({ types, database, options: { role: 'producer' } });
    // As a process leaves them that made some of the tables and was killed.
    await first.close();
    const { database: name } = database.options() as { database: string };
    askMariadb(`DROP TABLE ${name}.job_logs`);
    askMariadb(`DELETE FROM ${name}.job_migrations WHERE version > 0`);
    const apps = await Promise.all(Array.from({ length: 10 }, () => bootJobs({ types, database })));
    const ids = await Promise.all(apps.map(async (app) => (await app.run(Plain)).id));
    expect(new Set(ids).size).toBe(10);
    expect(await apps[0]?.sql('SELECT version FROM job_migrations ORDER BY version')).toEqual(
      [-1, 0, ...MYSQL_MIGRATIONS.map((_, at) => at + 1)].map((version) => ({ version })),
    );
  }, 30_000);
});

describe('a boot beside somebody who adds the same column, and whom no lock of a row keeps waiting', () => {
  it('looks again, and finds it', async () => {
    const database = createDatabase();
    const { database: name } = database.options() as { database: string };
    const proxy = await startProxy(inject('mariadb'));
    // Between the look that does not find the column and the change.
    const added = proxy.holdUp('EXECUTE nestjs_jobs_change', async () => {
      askMariadb(`ALTER TABLE ${name}.jobs ADD COLUMN extras INT`);
    });
    const app = await bootJobs({ types, database, typeorm: proxy.options });
    await within(added, 'the change');
    expect((await app.run(Plain)).status).toBe('completed');
    expect(await app.sql('SELECT version FROM job_migrations ORDER BY version')).toEqual(
      [-1, 0, ...MYSQL_MIGRATIONS.map((_, at) => at + 1)].map((version) => ({ version })),
    );
    expect(app.log.texts('error')).toEqual([]);
  }, 30_000);
});

describe('connections', () => {
  it.each([
    [undefined, 7],
    [5, 5],
    [9, 9],
  ])('with poolSize %s there are %s, beside those of the application', async (poolSize, count) => {
    const options = { database: poolSize === undefined ? {} : { poolSize } };
    const app = await bootJobs({ types, options });
    await app.run(Plain, {}, { idempotencyKey: 'k' });
    await app.run(Plain);
    const { database: name } = app.database.options() as { database: string };
    const sessions = async (): Promise<number> => {
      await Promise.all(Array.from({ length: 40 }, () => app.jobs.list()));
      // One is the application's own, which nobody has used but TypeORM at its start.
      return (
        askMariadb(`SELECT id FROM information_schema.processlist WHERE db = '${name}'`).length - 1
      );
    };
    await until(async () => (await sessions()) === count, `${count} sessions`);
    expect(await sessions()).toBe(count);
  });

  it('less than the engine needs are a boot error that says how many those are', async () => {
    const boot = bootJobs({ types, options: { database: { poolSize: 4 } } });
    const { code, message } = await refusal(boot);
    expect(code).toBe('invalid_options');
    expect(message).toMatch(/database\.poolSize is 4.* 5 connections to MariaDB/);
  });
});

it("the engine's connections count rows that were met, whatever flags the application's have", async () => {
  const extra = { flags: ['-FOUND_ROWS', '-MULTI_STATEMENTS'] };
  const app = await bootJobs({ types, typeorm: { extra } });
  await app.sql('CREATE TABLE numbers (n INT)');
  await app.sql('INSERT INTO numbers VALUES (1), (1)');
  const unchanged = 'UPDATE numbers SET n = 1';
  expect(await app.dataSource.query(unchanged)).toMatchObject({ affectedRows: 0 });
  const connection = new MysqlConnection(clientMaker(app.dataSource), () => undefined);
  const { execute } = await connection.executor();
  expect(await execute({ sql: unchanged, params: [], counts: true })).toEqual([[2]]);
  await connection.close();
  expect((await app.run(Plain)).status).toBe('completed');
});

it.each(['discard', 'close'] as const)(
  'a connection whose server has vanished leaves no socket that would hold the process: %s',
  async (leave) => {
    const proxy = await FaultProxy.start(Number(new URL(inject('mariadb')).port || 3306));
    closeLater(() => proxy.close(), 'test');
    const make = clientMaker(
      new DataSource(
        createDatabase().options({ port: proxy.port }) as ConstructorParameters<
          typeof DataSource
        >[0],
      ),
    );
    const clients: MysqlClient[] = [];
    const connection = new MysqlConnection(
      () => {
        const client = make();
        clients.push(client);
        return client;
      },
      () => undefined,
    );
    await connection.executor();
    proxy.freeze(1, () => 0);
    await connection[leave]();
    expect(clients.map(({ stream }) => (stream as Socket).destroyed)).toEqual([true]);
  },
);

describe('a process that is killed while it makes the tables', () => {
  it('leaves what the next one completes', async () => {
    const database = createDatabase();
    const { database: name } = database.options() as { database: string };
    const source = new DataSource(
      database.options() as ConstructorParameters<typeof DataSource>[0],
    );
    await source.initialize();
    const runner = source.createQueryRunner();
    // Whoever makes that table waits until it is let go, with those before it made.
    await runner.query('CREATE TABLE job_types (mine INT)');
    await runner.query('LOCK TABLES job_types WRITE');
    const child = ChildApplication.spawn({ database });
    const waiting = (): readonly unknown[] =>
      askMariadb(
        `SELECT id FROM information_schema.processlist WHERE db = '${name}' AND state LIKE 'Waiting for table metadata lock'`,
      );
    await until(() => waiting().length === 1, 'the child to be half way', 20_000);
    await child.kill('SIGKILL');
    const tables = askMariadb(`SHOW TABLES IN ${name}`).map((row) => Object.values(row)[0]);
    expect(tables).toEqual(expect.arrayContaining(['job_runs', 'jobs']));
    expect(tables).not.toContain('job_workers');
    await runner.query('DROP TABLE job_types');
    await runner.query('UNLOCK TABLES');
    await runner.release();
    await source.destroy();
    const app = await bootJobs({ types, database });
    expect((await app.run(Plain)).status).toBe('completed');
  }, 40_000);
});

describe('sessions that the server ends', () => {
  it('are made anew: what runs goes on, what waits is taken', async () => {
    const database = createDatabase();
    const worker = await bootJobs({ types, database });
    const held = await worker.jobs.enqueue(Held);
    const { release } = await gate.entry(held.id);
    const { database: name } = database.options() as { database: string };
    const sessions = askMariadb(
      `SELECT id AS id FROM information_schema.processlist WHERE db = '${name}'`,
    );
    for (const { id } of sessions) {
      askMariadb(`KILL CONNECTION ${Number(id)}`);
    }
    expect(sessions.length).toBeGreaterThan(2);
    const id = await until(
      () =>
        worker.jobs.enqueue(Plain).then(
          (job) => job.id,
          () => false as const,
        ),
      'an enqueue',
    );
    expect((await waitForEnd(worker.jobs, id)).status).toBe('completed');
    release('kept');
    expect(await waitForEnd(worker.jobs, held.id)).toMatchObject({ result: 'kept', lost: 0 });
  });
});

describe('a job that a transaction of the application has locked', () => {
  it('keeps no other from being enqueued, run and held, and ends when it is let go', async () => {
    const app = await bootJobs({ types, options: { lease: { duration: '2s', sweep: '200ms' } } });
    const locked = await app.jobs.enqueue(Held);
    const other = await app.jobs.enqueue(Held);
    const [first, second] = [await gate.entry(locked.id), await gate.entry(other.id)];
    const runner = app.dataSource.createQueryRunner();
    await runner.startTransaction();
    await runner.query(`SELECT 1 FROM jobs WHERE seq = ${seqOfId(locked.id)} FOR UPDATE`);
    const begun = Date.now();
    expect((await within(app.run(Plain), 'another job', 3000)).status).toBe('completed');
    second.release('other');
    first.release('mine');
    expect((await waitForEnd(app.jobs, other.id)).result).toBe('other');
    await until(() => Date.now() > begun + 1200);
    await runner.rollbackTransaction();
    await runner.release();
    expect(await waitForEnd(app.jobs, locked.id)).toMatchObject({ result: 'mine', lost: 0 });
  });
});

describe('processes that write the same jobs at once', () => {
  it('run each once, and nobody hears of a deadlock', async () => {
    const database = createDatabase();
    // Not lost only because all want the processor.
    const options = {
      lease: { duration: '60s', sweep: '200ms' },
      queues: { default: 20 },
    } as const;
    const apps = await Promise.all(
      Array.from({ length: 4 }, () => bootJobs({ types, database, options })),
    );
    const ids = new Set<string>();
    for (let round = 0; round < 5; round += 1) {
      const jobs: Job[] = await Promise.all(
        apps.flatMap((app, n) =>
          Array.from({ length: 20 }, (_, at) =>
            app.jobs.enqueue(Plain, at, {
              priority: at % 3,
              ...(at % 4 === 0 ? { idempotencyKey: `key ${round} ${at}` } : {}),
              ...(at % 5 === n ? { delay: 20 } : {}),
            }),
          ),
        ),
      );
      // Some are cancelled or changed while somebody claims, promotes or completes them.
      await Promise.all(
        jobs.slice(0, 20).map(async ({ id }, at) => {
          const app = apps[(at + 1) % apps.length] as BootedJobs;
          await (at % 2 === 0 ? app.jobs.cancel(id) : app.jobs.update(id, { priority: 9 })).catch(
            (error: unknown) => expect(error).toMatchObject({ code: 'already_ended' }),
          );
        }),
      );
      jobs.forEach(({ id }) => ids.add(id));
    }
    const [app] = apps as [BootedJobs];
    for (const id of ids) {
      expect(['completed', 'canceled']).toContain((await waitForEnd(app.jobs, id)).status);
    }
    expect(await app.sql('SELECT job_id FROM jobs WHERE revision > 1')).toEqual([]);
    expect(apps.flatMap((each) => each.log.texts('error'))).toEqual([]);
  }, 30_000);
});

describe('transactions that stand in each other’s way', () => {
  it('are counted', async () => {
    const app = await bootJobs({ types, options: { role: 'producer' } });
    const [a, b] = [await app.jobs.enqueue(Plain), await app.jobs.enqueue(Plain)];
    const store = new MysqlStore(app.dataSource, { migrate: 'check' });
    await store.open();
    const runner = app.dataSource.createQueryRunner();
    await runner.startTransaction();
    // Its transaction is the one to live: it has written more.
    await runner.query(`UPDATE jobs SET details = REPEAT('x', 1000) WHERE seq = ${seqOfId(b.id)}`);
    await runner.query(`UPDATE jobs SET details = REPEAT('y', 1000) WHERE seq = ${seqOfId(b.id)}`);
    const theirs = app.dataSource.transaction(async (manager) => {
      const joined = store.join(manager);
      await joined.change(a.id, () => ({ set: { details: 'mine' } }));
      await joined.change(b.id, () => ({ set: { details: 'mine' } }));
    });
    theirs.catch(() => undefined);
    await until(
      () =>
        askMariadb('SHOW FULL PROCESSLIST').some(({ Info: text }) =>
          String(text).includes(`seq = ${seqOfId(b.id)} FOR UPDATE`),
        ),
      'one of them to wait',
    );
    await runner.query(`UPDATE jobs SET details = 'theirs' WHERE seq = ${seqOfId(a.id)}`);
    await runner.commitTransaction();
    await runner.release();
    expect(await codeOf(theirs)).toBe('database_busy');
    expect(store.deadlocks).toBe(1);
    await store.close();
  });
});

describe('a cancel from another process', () => {
  it('reaches the handler within a second', async () => {
    const database = createDatabase();
    const worker = await bootJobs({ types, database });
    const producer = await bootJobs({ types, database, options: { role: 'producer' } });
    const { id } = await producer.jobs.enqueue(Held);
    await gate.entry(id);
    const begun = performance.now();
    await producer.jobs.cancel(id);
    await waitForStatus(worker.jobs, id, 'canceled');
    expect(performance.now() - begun).toBeLessThan(1000);
  });
});

describe('tables', () => {
  it('carry the prefix of the data source', async () => {
    const database = createDatabase();
    const app = await bootJobs({ types, database, typeorm: { entityPrefix: 'my_' } });
    const { id } = await app.run(Plain);
    expect(await app.sql('SELECT job_id FROM my_jobs')).toEqual([{ job_id: id }]);
  });

  it('are no difference to synchronize', async () => {
    const app = await bootJobs({ types });
    const { upQueries } = await app.dataSource.driver.createSchemaBuilder().log();
    // Entities of other tests of this process are loaded too.
    expect(upQueries.filter(({ query }) => query.includes('job'))).toEqual([]);
  });
});
