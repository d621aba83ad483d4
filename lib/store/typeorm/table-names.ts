/** The tables' names under the data source's `entityPrefix`, quoted. */
export interface TableNames {
  readonly jobs: string;
  readonly runs: string;
  readonly types: string;
  readonly groups: string;
  readonly queues: string;
  readonly workers: string;
  readonly logs: string;
  readonly migrations: string;
  /** The quoted name of an index; unique in the schema, so it carries the prefix too. */
  index(name: string): string;
}

/** Names for a prefix; a prefix is an identifier of the host's own configuration, not of a user. */
export function tableNames(prefix = ''): TableNames {
  const quoted = (name: string): string => `"${(prefix + name).replaceAll('"', '""')}"`;
  return {
    jobs: quoted('jobs'),
    runs: quoted('job_runs'),
    types: quoted('job_types'),
    groups: quoted('job_groups'),
    queues: quoted('job_queues'),
    workers: quoted('job_workers'),
    logs: quoted('job_logs'),
    migrations: quoted('job_migrations'),
    index: (name) => quoted(`ix_${name}`),
  };
}
