/**
 * nestjs-jobs inside a real Nest application context, with the default options.
 *
 * `line: 'current'` is Nest 12, TypeORM 1 and better-sqlite3 from the project's own packages;
 * with `url` it works on PostgreSQL or MariaDB instead;
 * `line: 'compat'` is Nest 11, TypeORM 0.3 and sqlite3 from the workspace test/compat/nest11.
 */
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { CONCURRENCY } from './index.mjs';
import { NO_OP, packagesOf } from './nest-line.mjs';

const OTHER = 'other:noop';

export async function open({
  dir,
  url,
  line,
  synchronous = 'NORMAL',
  bare = false,
  producer = false,
  paused = false,
  concurrency,
  hook,
  onJob,
}) {
  const packages = await packagesOf(line);
  const { NestFactory, DataSource, Module, TypeOrmModule, jobs } = packages;
  const place = url === undefined ? { file: path.join(dir, 'jobs.sqlite'), synchronous } : { url };

  class Noop {
    execute(ctx) {
      onJob(() => ctx.params);
    }
  }
  jobs.JobType(concurrency === undefined ? NO_OP : { ...NO_OP, concurrency })(Noop);

  class AppModule {}
  const imports = [TypeOrmModule.forRoot(dataSourceOptions(packages, place))];
  if (!bare) {
    imports.push(
      jobs.JobsModule.forRoot({
        ...(producer ? { role: 'producer' } : {}),
        ...(hook === undefined ? {} : { webhooks: webhooksTo(hook) }),
      }),
    );
  }
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
    versions: await versionsOf(packages, host, url),
    enqueue: (params) => service.enqueue(Noop, params),
    enqueueMany: (list) => service.enqueueMany(list.map((params) => ({ type: Noop, params }))),
    enqueueFor: (list) =>
      service.enqueueMany(list.map(([params, tenantId]) => ({ type: Noop, params, tenantId }))),
    /** So many that are not due yet; their ids. */
    async enqueueLater(count) {
      const ids = [];
      for (let from = 0; from < count; from += 1000) {
        const jobs = Array.from({ length: Math.min(1000, count - from) }, () => ({
          type: Noop,
          params: {},
          delay: '1d',
        }));
        for (const { job } of await service.enqueueMany(jobs)) ids.push(job.id);
      }
      return ids;
    },
    enqueueBehind: (params, dependsOn) => service.enqueue(Noop, params, { dependsOn }),
    async schedule(count, dueAt) {
      const schedules = app.get(jobs.SchedulesService);
      let next = 0;
      const caller = async () => {
        while (next < count) {
          const name = `schedule ${next++}`;
          await schedules.upsert({ name, type: Noop, every: '1d', startAt: new Date(dueAt) });
        }
      };
      await Promise.all(Array.from({ length: CONCURRENCY }, caller));
    },
    /** How many slots of schedules have made their job. */
    async fired() {
      const [row] = await host.query('SELECT COUNT(*) AS n FROM job_schedule_slots');
      return Number(row.n);
    },
    resume: () => worker?.resume(),
    pause: () => worker?.pause(),
    async unfinished() {
      if (isMariadb(url)) {
        // Without partial indexes a lease would be looked for in all rows.
        const [row] = await host.query(
          `SELECT (SELECT COUNT(*) FROM jobs WHERE ready = 1 AND type = '${TYPE}')
                + (SELECT COUNT(*) FROM jobs WHERE status = 'running' AND ready = 0) AS n`,
        );
        return Number(row.n);
      }
      const table = url === undefined ? 'job_rows' : 'jobs';
      const isOurs =
        url === undefined
          ? `declaration IN (SELECT declaration FROM job_declarations WHERE type = '${TYPE}')`
          : `type = '${TYPE}'`;
      const [row] = await host.query(
        `SELECT (SELECT count(*) FROM ${table} WHERE ready = 1 AND ${isOurs})
              + (SELECT count(*) FROM ${table} WHERE ready = 2 AND ${isOurs})
              + (SELECT count(*) FROM ${table} WHERE lease_until_ms IS NOT NULL) AS n`,
      );
      return Number(row.n);
    },
    fill(kind, rows) {
      if (isMariadb(url)) throw new Error('Rows of other kinds are not made on MariaDB.');
      return fill({ host, service, Noop, isFile: url === undefined }, kind, rows);
    },
    close: () => app.close(),
  };
}

/** One endpoint, which hears of everything. */
function webhooksTo(url) {
  const secret = `whsec_${Buffer.alloc(24, 'bench').toString('base64')}`;
  return { allowHttp: true, allowAddresses: ['127.0.0.1'], endpoints: [{ url, secret }] };
}

const TYPE = `default:${NO_OP.name}`;

const isMariadb = (url) => url?.startsWith('mysql:') === true;

function dataSourceOptions({ driver }, { url, file, synchronous }) {
  if (url !== undefined) {
    return { type: isMariadb(url) ? 'mariadb' : 'postgres', url, autoLoadEntities: true };
  }
  return {
    type: driver,
    database: file,
    autoLoadEntities: true,
    ...(driver === 'better-sqlite3' && synchronous === 'FULL'
      ? { prepareDatabase: (connection) => connection.pragma('synchronous = FULL') }
      : {}),
  };
}

async function versionsOf({ driver, versions }, host, url) {
  if (url !== undefined) {
    const { [driver]: _, ...others } = versions;
    if (isMariadb(url)) {
      const [{ mariadb }] = await host.query('SELECT VERSION() AS mariadb');
      return { ...others, mariadb };
    }
    const [{ server_version: postgres }] = await host.query('SHOW server_version');
    return { ...others, postgres };
  }
  const [{ sqlite }] = await host.query('SELECT sqlite_version() AS sqlite');
  const [{ journal_mode }] = await host.query('PRAGMA journal_mode');
  return { ...versions, driver, sqlite, journal_mode };
}

/**
 * A million rows like a real one: the one is made by the library, the others by SQL from it, so
 * that this file knows no column but those that differ.
 */
async function fill({ host, service, Noop, isFile }, kind, rows) {
  const day = 86_400_000;
  // On SQLite jobs are a view of narrower rows.
  const table = isFile ? 'job_rows' : 'jobs';
  const [seed] = await seedRow({ host, service, Noop, table }, day);
  const now = Date.now();
  const past = `${now - day} + i / 1000`;
  const changed = {
    delayed: {},
    finished: { status: "'completed'", ready: '0', run_at_ms: past, finished_at_ms: past },
    other: isFile
      ? {
          declaration: `(SELECT declaration FROM job_declarations WHERE type = '${OTHER}')`,
          ready: '1',
          run_at_ms: past,
        }
      : { type: `'${OTHER}'`, queue: "'download'", ready: '1', run_at_ms: past },
  }[kind];
  if (isFile) {
    await host.query(
      `INSERT OR IGNORE INTO job_declarations (type, type_version, group_name, queue, timeout_sec, max_retries, retry_delay_sec)
       VALUES ('${OTHER}', 1, 'other', 'download', 0, 0, 10)`,
    );
  }
  const columns = Object.keys(seed).filter((name) => name !== 'seq');
  const values = columns.map((name) => {
    if (name === 'id_low') return 'i';
    if (name === 'job_id') return "'01900000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')";
    return changed[name] ?? (name === 'run_at_ms' ? `${now + day} + i / 1000` : `seed."${name}"`);
  });
  const series = isFile
    ? `(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows}) SELECT i FROM n)`
    : `generate_series(1, ${rows})`;
  await host.query(
    `INSERT INTO ${table} (seq, ${columns.join(', ')})
     SELECT seed.seq - 5000000 + i, ${values.join(', ')} FROM ${series} AS n${isFile ? '' : '(i)'} CROSS JOIN ${table} AS seed WHERE seed.seq = ${seed.seq}`,
  );
  await host.query(`DELETE FROM ${table} WHERE seq = ${seed.seq}`);
  await host.query(isFile ? 'PRAGMA wal_checkpoint(TRUNCATE)' : 'VACUUM ANALYZE jobs');
}

async function seedRow({ host, service, Noop, table }, delay) {
  const job = await service.enqueue(Noop, { text: 'x'.repeat(149) }, { delay });
  return host.query(
    `SELECT * FROM ${table} WHERE seq = (SELECT seq FROM jobs WHERE job_id = '${job.id}')`,
  );
}
