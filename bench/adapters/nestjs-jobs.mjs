/**
 * nestjs-jobs inside a real Nest application context, with the default options.
 *
 * `line: 'current'` is Nest 12, TypeORM 1 and better-sqlite3 from the project's own packages;
 * `line: 'compat'` is Nest 11, TypeORM 0.3 and sqlite3 from the workspace test/compat/nest11.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { NO_OP, packagesOf } from './nest-line.mjs';

const OTHER = 'other:noop';

export async function open({
  dir,
  line,
  synchronous = 'NORMAL',
  bare = false,
  producer = false,
  paused = false,
  onJob,
}) {
  const packages = await packagesOf(line);
  const { NestFactory, DataSource, Module, TypeOrmModule, jobs } = packages;
  const file = path.join(dir, 'jobs.sqlite');

  class Noop {
    execute(ctx) {
      onJob(() => ctx.params);
    }
  }
  jobs.JobType(NO_OP)(Noop);

  class AppModule {}
  const imports = [TypeOrmModule.forRoot(dataSourceOptions(packages, file, synchronous))];
  if (!bare) imports.push(jobs.JobsModule.forRoot(producer ? { role: 'producer' } : {}));
  Module({ imports, providers: bare ? [] : [Noop] })(AppModule);

  const app = await NestFactory.createApplicationContext(AppModule, { logger: ['error', 'warn'] });
  const host = app.get(DataSource);
  if (bare) return { versions: {}, close: () => app.close() };

  const service = app.get(jobs.JobsService);
  const worker = producer ? undefined : app.get(jobs.getQueueWorkerToken('default'));
  if (paused) {
    worker.pause();
    // A claim that was under way when the pause began would still start its jobs.
    await sleep(100);
  }

  return {
    versions: await versionsOf(packages, host),
    enqueue: (params) => service.enqueue(Noop, params),
    enqueueMany: (list) => service.enqueueMany(list.map((params) => ({ type: Noop, params }))),
    resume: () => worker?.resume(),
    pause: () => worker?.pause(),
    async unfinished() {
      const [row] = await host.query(
        `SELECT (SELECT count(*) FROM jobs WHERE ready = 1 AND type = '${TYPE}')
              + (SELECT count(*) FROM jobs WHERE lease_until_ms IS NOT NULL) AS n`,
      );
      return row.n;
    },
    fill: (kind, rows) => fill({ host, service, Noop }, kind, rows),
    close: () => app.close(),
  };
}

const TYPE = `default:${NO_OP.name}`;

function dataSourceOptions({ driver }, database, synchronous) {
  return {
    type: driver,
    database,
    autoLoadEntities: true,
    ...(driver === 'better-sqlite3' && synchronous === 'FULL'
      ? { prepareDatabase: (connection) => connection.pragma('synchronous = FULL') }
      : {}),
  };
}

async function versionsOf({ driver, versions }, host) {
  const [{ sqlite }] = await host.query('SELECT sqlite_version() AS sqlite');
  const [{ journal_mode }] = await host.query('PRAGMA journal_mode');
  return { ...versions, driver, sqlite, journal_mode };
}

/**
 * A million rows like a real one: the one is made by the library, the others by SQL from it, so
 * that this file knows no column but those that differ.
 */
async function fill({ host, service, Noop }, kind, rows) {
  const day = 86_400_000;
  const [seed] = await seedRow({ host, service, Noop }, day);
  const now = Date.now();
  const changed = {
    delayed: {},
    finished: {
      status: "'completed'",
      ready: '0',
      run_at_ms: `${now - day} + i / 1000`,
      finished_at_ms: `${now - day} + i / 1000`,
    },
    other: {
      type: `'${OTHER}'`,
      queue: "'download'",
      ready: '1',
      run_at_ms: `${now - day} + i / 1000`,
    },
  }[kind];
  const columns = Object.keys(seed).filter((name) => name !== 'seq');
  const values = columns.map((name) => {
    if (name === 'job_id') return "printf('01900000-0000-7000-8000-%012x', i)";
    return changed[name] ?? (name === 'run_at_ms' ? `${now + day} + i / 1000` : `"${name}"`);
  });
  await host.query(
    `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
     INSERT INTO jobs (seq, ${columns.join(', ')})
     SELECT seed.seq + i, ${values.join(', ')} FROM n CROSS JOIN jobs AS seed WHERE seed.job_id = '${seed.job_id}'`,
  );
  await host.query(`DELETE FROM jobs WHERE job_id = '${seed.job_id}'`);
  await host.query('PRAGMA wal_checkpoint(TRUNCATE)');
}

async function seedRow({ host, service, Noop }, delay) {
  const job = await service.enqueue(Noop, { text: 'x'.repeat(149) }, { delay });
  return host.query(`SELECT * FROM jobs WHERE job_id = '${job.id}'`);
}
