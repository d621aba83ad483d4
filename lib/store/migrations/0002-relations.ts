import { extrasSql } from '../dialects/sqlite/dependents.js';
import type { TableNames } from '../typeorm/table-names.js';
import { changesOfJobs, viewOfJobs } from './0001-initial.js';
import { stepTables } from './steps.tables.js';
import { scheduleTables } from './schedules.tables.js';
import {
  createTable,
  mysqlTables,
  POSTGRES_TABLES,
  SQLITE_TABLES,
  type TableSpec,
  type TableWords,
} from './table.js';
import { UNIQUES } from './unique.tables.js';
import { webhookTables } from './webhooks.tables.js';

/** What stands beside the rows of jobs that have any of it (`JobExtrasEntity`). */
const EXTRAS: TableSpec = {
  columns: {
    seq: 'number',
    job_id: 'id',
    depends_on: { kind: 'text', nullable: true },
    blocked_by: 'number',
    verdict: 'number',
    unique_claim: { kind: 'text', nullable: true },
    status_hook: { kind: 'text', nullable: true },
    schedule_id: { kind: 'id', nullable: true },
    check_in: { kind: 'text', nullable: true },
    check_in_at_ms: { kind: 'number', nullable: true },
  },
  key: ['seq'],
  indexes: {
    job_extras_schedule: { columns: ['schedule_id', 'seq'], where: 'schedule_id IS NOT NULL' },
  },
};

/** Who waits for whom. The key finds the jobs that wait for one; what one waits for is in its extras. */
const DEPENDENCIES: TableSpec = {
  columns: {
    parent_seq: 'number',
    child_seq: 'number',
    on_failure: ['word', 6],
    // Whether the job that waits has been told that the other one has ended.
    told: 'number',
  },
  key: ['parent_seq', 'child_seq'],
};

/** Jobs that have ended and whose dependents are still to be told, one by one more than a transaction takes. */
const UNTOLD: TableSpec = { columns: { seq: 'number' }, key: ['seq'] };

function tables(t: TableNames, words: TableWords): readonly string[] {
  return (
    [
      [t.extras, EXTRAS],
      [t.dependencies, DEPENDENCIES],
      [t.untold, UNTOLD],
      ...stepTables(t),
      ...scheduleTables(t),
      [t.uniques, UNIQUES],
    ] as const
  )
    .flatMap(([name, spec]) => createTable(words, name, spec, (index) => t.index(index)))
    .concat(webhookTables(t, words));
}

/**
 * The second schema: jobs that have to do with others. Plain jobs have one column more, which is
 * null. `ready = -1`: such a job waits for others, or for a signal, and is in no other index.
 */
export function relationsSchema(t: TableNames): readonly string[] {
  return [
    `ALTER TABLE ${t.rows} ADD COLUMN extras INTEGER`,
    `CREATE INDEX ${t.index('jobs_held_back')} ON ${t.rows} (seq) WHERE ready = -1`,
    ...tables(t, SQLITE_TABLES),
    `DROP VIEW ${t.jobs}`,
    viewOfJobs(t, [`${extrasSql(t, 'held')} AS extras`]),
    ...changesOfJobs(t, ['extras']),
  ];
}

/** The same for PostgreSQL. */
export function postgresRelationsSchema(t: TableNames): readonly string[] {
  return [
    `ALTER TABLE ${t.jobs} ADD COLUMN extras INTEGER`,
    `CREATE INDEX ${t.index('jobs_held_back')} ON ${t.jobs} (seq) WHERE ready = -1`,
    ...tables(t, POSTGRES_TABLES),
  ];
}

/** The same for MySQL and MariaDB, where each statement may be repeated. */
export function mysqlRelationsSchema(t: TableNames, collation: string): readonly string[] {
  const name = t.jobs.slice(1, -1).replaceAll('``', '`').replaceAll("'", "''");
  const change = `ALTER TABLE ${t.jobs} ADD COLUMN extras INT`.replaceAll("'", "''");
  return [
    `SET @nestjs_jobs_change = (SELECT CASE COUNT(*) WHEN 0 THEN '${change}' ELSE 'DO 0' END FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '${name}' AND column_name = 'extras')`,
    'PREPARE nestjs_jobs_change FROM @nestjs_jobs_change',
    'EXECUTE nestjs_jobs_change',
    ...tables(t, mysqlTables(collation)),
  ];
}
