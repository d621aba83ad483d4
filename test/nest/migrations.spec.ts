import { DataSource, DefaultNamingStrategy } from 'typeorm';
import { describe, expect, it } from 'vitest';
import {
  getQueueWorkerToken,
  JobEntity,
  JobType,
  JobWorkerEntity,
  migrationSql,
  type JobHandler,
  type QueueWorker,
} from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import {
  createDatabase,
  driverUnderTest,
  isFile,
  type TestDatabase,
} from '../support/databases.js';
import { until, waitForEnd } from '../support/waiting.js';

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): string {
    return 'fine';
  }
}

const types = [Plain];
type Options = ConstructorParameters<typeof DataSource>[0];

/** As some teams name every table, their own and those of others. */
class Ours extends DefaultNamingStrategy {
  override tableName(className: string, given: string | undefined): string {
    return `t_${super.tableName(className, given)}_${className.length}`;
  }
}

const isPostgres = driverUnderTest === 'postgres';
const NAMED = {
  entityPrefix: 'acme_',
  namingStrategy: new Ours(),
  ...(isPostgres ? { schema: 'Other' } : {}),
};

const newSource = (database: TestDatabase, typeorm: object = {}): DataSource =>
  new DataSource(database.options(typeorm) as Options);

/** Runs a text of many statements as the database's own client does. */
async function runByHand(database: TestDatabase, sql: string): Promise<void> {
  const source = await newSource(database, { multipleStatements: true }).initialize();
  try {
    if (isFile) {
      const { databaseConnection } = source.driver as typeof source.driver & {
        databaseConnection: { exec(sql: string, done: (error: Error | null) => void): unknown };
      };
      await new Promise<void>((resolve, reject) => {
        databaseConnection.exec(sql, (error) => (error === null ? resolve() : reject(error)));
        if (driverUnderTest === 'better-sqlite3') {
          resolve();
        }
      });
    } else {
      await source.query(sql);
    }
  } finally {
    await source.destroy();
  }
}

const OWN = isPostgres ? `n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')` : '';
const PARTS: Readonly<Record<string, readonly string[]>> = {
  sqlite: ['SELECT sql AS part FROM sqlite_master WHERE sql IS NOT NULL'],
  postgres: [
    `SELECT c.relname || ' ' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull
       || coalesce(' ' || pg_get_expr(d.adbin, d.adrelid), '') || coalesce(' ' || array_to_string(c.reloptions, ','), '') AS part
     FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
     LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum WHERE c.relkind = 'r' AND ${OWN}`,
    `SELECT pg_get_indexdef(c.oid) AS part FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.relkind = 'i' AND ${OWN}`,
  ],
  mariadb: [
    `SELECT CONCAT_WS(' ', table_name, column_name, ordinal_position, column_type, is_nullable, collation_name, column_default, extra, generation_expression) AS part
     FROM information_schema.columns WHERE table_schema = DATABASE()`,
    `SELECT CONCAT_WS(' ', table_name, index_name, non_unique, seq_in_index, column_name, collation) AS part
     FROM information_schema.statistics WHERE table_schema = DATABASE()`,
  ],
};

/** Everything that the database knows of its tables, part by part. */
async function partsOf(database: TestDatabase): Promise<string[]> {
  const source = await newSource(database).initialize();
  try {
    const found: string[] = [];
    for (const sql of PARTS[isFile ? 'sqlite' : driverUnderTest] ?? []) {
      const rows = (await source.query(sql)) as { part: string }[];
      found.push(...rows.map(({ part }) => part.replaceAll(/\s+/g, ' ')));
    }
    return found.toSorted((a, b) => (a < b ? -1 : 1));
  } finally {
    await source.destroy();
  }
}

describe('the SQL of the migrations, run by hand on an empty database', () => {
  it.each([
    ['plain names', {}],
    ['prefix, schema and naming strategy', NAMED],
  ])('makes what boot makes, and boot with check takes it: %s', async (_, typeorm) => {
    const [byHand, byBoot] = [createDatabase(), createDatabase()];
    if ('schema' in typeorm) {
      for (const database of [byHand, byBoot]) await runByHand(database, 'CREATE SCHEMA "Other"');
    }
    const migrated = await bootJobs({ types, typeorm, database: byBoot });
    await migrated.close();

    const sql = migrationSql(newSource(byHand, typeorm));
    await runByHand(byHand, sql);
    expect(await partsOf(byHand)).toEqual(await partsOf(byBoot));
    expect((await partsOf(byHand)).length).toBeGreaterThan(15);

    const app = await bootJobs({
      types,
      typeorm,
      database: byHand,
      options: { database: { migrate: 'check' } },
    });
    const job = await app.run(Plain, { n: 1 }, { idempotencyKey: 'k' });
    expect(job).toMatchObject({ status: 'completed', result: 'fine' });
    // The host's own repositories find what is stored under these names.
    const jobs = app.dataSource.getRepository(JobEntity);
    expect(await jobs.findOneByOrFail({ id: job.id })).toMatchObject({ idempotencyKey: 'k' });
    const workers = app.dataSource.getRepository(JobWorkerEntity);
    await until(async () => (await workers.count()) === 1, 'the worker');
  });

  it('leaves out what is there, and is nothing at the newest version', () => {
    const source = newSource(createDatabase());
    const all = migrationSql(source);
    expect(all.split('\n').length).toBeGreaterThan(100);
    const newest = Number(/^-- .* from schema version 0 to (\d+)\n/.exec(all)?.[1]);
    expect(migrationSql(source, { from: newest })).toMatch(/^-- .*\n$/);
    for (const from of [-1, newest + 1, 0.5, Number.NaN]) {
      expect(() => migrationSql(source, { from })).toThrow(
        expect.objectContaining({ code: 'invalid_options' }) as Error,
      );
    }
  });

  it('is refused for a database that is not served', () => {
    const other = { options: { type: 'oracle' } } as DataSource;
    expect(() => migrationSql(other)).toThrow(/oracle.*better-sqlite3.*postgres.*mariadb/s);
  });
});

/** The statements of the first version alone, which no release prints. */
function firstVersion(database: TestDatabase): string {
  const all = migrationSql(newSource(database));
  const recorded = all.indexOf('VALUES (1, ');
  const text = all.slice(0, all.indexOf(';', recorded) + 1);
  return driverUnderTest === 'mariadb' ? text : `${text}\nCOMMIT;`;
}

/** What the first version does not have, and what MariaDB fills by itself. */
const NOT_COPIED = ['extras', 'room', 'phase_at_ms', 'overdue_at_ms', 'other_tenant_id'];

/** Plain jobs have the same rows in both versions, but for a column that is empty. */
async function copyJobs(from: TestDatabase, to: TestDatabase): Promise<void> {
  const source = await newSource(from).initialize();
  const target = await newSource(to).initialize();
  try {
    for (const table of isFile ? ['job_declarations', 'job_rows'] : ['jobs']) {
      const rows = (await source.query(`SELECT * FROM ${table}`)) as Record<
        string,
        string | number | null
      >[];
      for (const row of rows) {
        const columns = Object.keys(row).filter((name) => !NOT_COPIED.includes(name));
        const values = columns.map((name) => literalOf(row[name]));
        await target.query(
          `INSERT INTO ${table} (${columns.join(', ')}) VALUES (${values.join(', ')})`,
        );
      }
    }
  } finally {
    await source.destroy();
    await target.destroy();
  }
}

function literalOf(value: string | number | null | undefined): string {
  if (value === null || value === undefined) return 'NULL';
  return typeof value === 'number' ? String(value) : `'${value.replaceAll("'", "''")}'`;
}

describe('tables of the first version with jobs in them', () => {
  it.each([
    ['boot', 'auto'],
    ['the SQL from that version on, run by hand', 'check'],
  ])('are brought up to date by %s: what waits runs, what ended is listed', async (_, migrate) => {
    const [newest, old] = [createDatabase(), createDatabase()];
    const before = await bootJobs({ types, database: newest });
    const ended = await before.run(Plain);
    before.get<QueueWorker>(getQueueWorkerToken('default')).pause();
    const waiting = await before.jobs.enqueue(Plain, { n: 1 }, { idempotencyKey: 'k' });
    const later = await before.jobs.enqueue(Plain, {}, { delay: '1h' });
    await before.close();

    await runByHand(old, firstVersion(old));
    await copyJobs(newest, old);
    const check = { database: { migrate: 'check' } };
    await expect(bootJobs({ types, database: old, options: check })).rejects.toMatchObject({
      code: 'schema_mismatch',
    });
    if (migrate === 'check') {
      await runByHand(old, migrationSql(newSource(old), { from: 1 }));
    }
    const app = await bootJobs({ types, database: old, options: { database: { migrate } } });
    expect(await waitForEnd(app.jobs, waiting.id)).toMatchObject({ result: 'fine' });
    const { jobs } = await app.jobs.list({ order: 'scheduled_at' });
    expect(jobs.map(({ id, status }) => [id, status])).toEqual([
      [ended.id, 'completed'],
      [waiting.id, 'completed'],
      [later.id, 'waiting'],
    ]);
    expect(await app.jobs.enqueue(Plain, { n: 1 }, { idempotencyKey: 'k' })).toMatchObject({
      id: waiting.id,
      outcome: 'replayed',
    });
    // What the second version is for.
    const dependent = await app.jobs.enqueue(Plain, {}, { dependsOn: [later.id] });
    await app.jobs.update(later.id, { runAt: new Date() });
    expect(await waitForEnd(app.jobs, dependent.id)).toMatchObject({ status: 'completed' });
    expect(await partsOf(old)).toEqual(await partsOf(newest));
  });
});
