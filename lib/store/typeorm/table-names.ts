import { NIL_TENANT } from '../../model/tenant.js';

/** Phrases in which databases differ, and which stand in statements that they share. */
export interface SqlWords {
  /** Jobs, and lines of them, that one statement of retention deletes: the time is looked at after each. */
  readonly purgedAtOnce: number;
  readonly linesPurgedAtOnce: number;
  /** After a column of numbers: is in the JSON array that is bound. */
  readonly amongNumbers: string;
  /** The same for texts. */
  readonly amongTexts: string;
  /** The function that makes a JSON array of its arguments. */
  readonly jsonArray: string;
  /** The aggregate that makes a JSON array of rows; without any it may be null. */
  readonly jsonGroupArray: string;
  /** Whether the job has the tag that is bound. */
  readonly tagged: string;
  /**
   * Whether `jobs` is a view of `job_rows`, which say by the number of a declaration what jobs have
   * in common by their type.
   */
  readonly hasDeclarations: boolean;
}

/** The tables' names under the data source's `entityPrefix`, quoted. */
export interface TableNames {
  /** What is read: one row a job, with the columns of the contract. */
  readonly jobs: string;
  /** What is written; `jobs` itself where that is a table. */
  readonly rows: string;
  readonly declarations: string;
  readonly runs: string;
  readonly types: string;
  readonly groups: string;
  readonly queues: string;
  readonly workers: string;
  readonly logs: string;
  readonly migrations: string;
  readonly words: SqlWords;
  /** The quoted name of an index; unique in the schema, so it carries the prefix too. */
  index(name: string): string;
  /** Whether a job belongs to the tenant that is bound, which is not the nil one: by its index. */
  readonly isOfTenant: string;
  /** Whether a job belongs to any but the nil tenant. */
  readonly isOfOthers: string;
  /** Whether a job has one of so many types, which are bound. */
  ofTypes(count: number): string;
}

const SQLITE_WORDS: SqlWords = {
  // A job may be a megabyte, and the one writer is held up.
  purgedAtOnce: 5,
  linesPurgedAtOnce: 200,
  amongNumbers: 'IN (SELECT value FROM json_each(?))',
  amongTexts: 'IN (SELECT value FROM json_each(?))',
  jsonArray: 'json_array',
  jsonGroupArray: 'json_group_array',
  tagged: 'EXISTS (SELECT 1 FROM json_each(tags) WHERE value = ?)',
  hasDeclarations: true,
};

/** Names for a prefix; a prefix is an identifier of the host's own configuration, not of a user. */
export function tableNames(
  prefix = '',
  schema?: string,
  words: SqlWords = SQLITE_WORDS,
): TableNames {
  const identifier = (name: string): string => `"${name.replaceAll('"', '""')}"`;
  const quoted = (name: string): string =>
    `${schema === undefined ? '' : `${identifier(schema)}.`}${identifier(prefix + name)}`;
  const declarations = quoted('job_declarations');
  const isOther = `tenant_id <> '${NIL_TENANT}'`;
  return {
    words,
    jobs: quoted('jobs'),
    rows: quoted(words.hasDeclarations ? 'job_rows' : 'jobs'),
    declarations,
    runs: quoted('job_runs'),
    types: quoted('job_types'),
    groups: quoted('job_groups'),
    queues: quoted('job_queues'),
    workers: quoted('job_workers'),
    logs: quoted('job_logs'),
    migrations: quoted('job_migrations'),
    index: (name) => identifier(`${prefix}ix_${name}`),
    // The literal lets planners use the partial index of tenants.
    isOfTenant: words.hasDeclarations ? 'other_tenant_id = ?' : `tenant_id = ? AND ${isOther}`,
    isOfOthers: words.hasDeclarations ? 'other_tenant_id IS NOT NULL' : isOther,
    ofTypes: (count) => {
      const among = `IN (${Array.from({ length: count }, () => '?').join(', ')})`;
      return words.hasDeclarations
        ? `declaration IN (SELECT declaration FROM ${declarations} WHERE type ${among})`
        : `type ${among}`;
    },
  };
}
