import { JobExtrasEntity } from '../../entities/job-extras.entity.js';
import type { JobEntity } from '../../entities/job.entity.js';
import { hasExtra, SAID_BESIDE } from '../../model/extras.js';
import { query, type Row, type RowsInto, type Script } from '../dialects/sql.js';
import type { ListedJob } from '../store.js';
import type { TableNames } from './table-names.js';

/**
 * Reads what stands beside the rows of jobs, where anything does; nothing is asked for plain jobs. `latest`:
 * what follows a read that something is decided by, in a transaction that perhaps sees the past.
 */
export function* readBeside(
  t: TableNames,
  jobs: readonly JobEntity[],
  latest = '',
): Script<readonly JobEntity[]> {
  const those = jobs.filter(({ extras }) => hasExtra(extras, SAID_BESIDE));
  if (those.length > 0) {
    const rows = yield* query(
      `SELECT ${EXTRAS_COLUMNS} FROM ${t.extras} WHERE seq ${t.words.amongNumbers} ${latest}`,
      [JSON.stringify(those.map(({ seq }) => seq))],
    );
    const found = new Map(rows.map(extrasOfRow).map((each) => [each.seq, each]));
    those.forEach((job) => (job.beside = found.get(job.seq)));
  }
  return jobs;
}

/** The same of jobs in a list. */
export function* withBeside(
  t: TableNames,
  listed: readonly ListedJob[],
): Script<readonly ListedJob[]> {
  yield* readBeside(
    t,
    listed.map(({ job }) => job),
  );
  return listed;
}

/** The columns of `job_extras`, in the order in which they are read and written. */
const EXTRAS = {
  seq: 'number',
  job_id: 'text',
  depends_on: 'text',
  blocked_by: 'number',
  verdict: 'number',
  unique_claim: 'text',
  status_hook: 'text',
  schedule_id: 'text',
  check_in: 'text',
  check_in_at_ms: 'number',
} as const;

const EXTRAS_COLUMNS = Object.keys(EXTRAS).join(', ');

function extrasOfRow(row: Row): JobExtrasEntity {
  const extras = new JobExtrasEntity();
  extras.seq = row[0] as number;
  extras.jobId = row[1] as string;
  extras.dependsOn = row[2] as string | null;
  extras.blockedBy = row[3] as number;
  extras.verdict = row[4] as number;
  extras.uniqueClaim = row[5] as string | null;
  extras.statusHook = row[6] as string | null;
  extras.scheduleId = row[7] as string | null;
  extras.checkIn = row[8] as string | null;
  extras.checkInAtMs = row[9] as number | null;
  return extras;
}

/** The values of a row, in the order of {@link EXTRAS}. */
function valuesOfExtras(extras: JobExtrasEntity): readonly (string | number | null)[] {
  return [
    extras.seq,
    extras.jobId,
    extras.dependsOn,
    extras.blockedBy,
    extras.verdict,
    extras.uniqueClaim,
    extras.statusHook,
    extras.scheduleId,
    extras.checkIn,
    extras.checkInAtMs,
  ];
}

/** What all such rows say; few need the other columns. */
export const FEW_EXTRAS = {
  seq: EXTRAS.seq,
  job_id: EXTRAS.job_id,
  depends_on: EXTRAS.depends_on,
  blocked_by: EXTRAS.blocked_by,
  verdict: EXTRAS.verdict,
} as const;
const MOSTLY = Object.keys(FEW_EXTRAS).length;

/** Stores such rows; one that is there, because its answer was lost, is left as it is. */
export class ExtrasInserts {
  readonly #words: TableNames['words'];
  readonly #few: RowsInto;
  readonly #all: RowsInto;

  constructor({ words, extras }: TableNames) {
    this.#words = words;
    this.#few = { table: extras, columns: FEW_EXTRAS };
    this.#all = { table: extras, columns: EXTRAS };
  }

  *insert(rows: readonly JobExtrasEntity[]): Script<void> {
    if (rows.length === 0) {
      return;
    }
    const values = rows.map(valuesOfExtras);
    const isShort = values.every((row) => row.every((value, at) => at < MOSTLY || value === null));
    const statements = this.#words.insertRows(
      isShort ? this.#few : this.#all,
      isShort ? values.map((row) => row.slice(0, MOSTLY)) : values,
    );
    for (const { sql, params } of statements) {
      yield { sql, params, deferred: true };
    }
  }
}

/** Changes what stands beside a job's row, which gets such a row if it has none. */
export function* updateExtras(
  t: TableNames,
  { seq, id }: JobEntity,
  set: Partial<Record<Exclude<keyof typeof EXTRAS, 'seq' | 'job_id'>, string | number | null>>,
): Script<void> {
  const columns = Object.keys(set);
  const given = { blocked_by: 0, verdict: 0, ...set };
  yield* query(
    `INSERT INTO ${t.extras} (seq, job_id, ${Object.keys(given).join(', ')})
     VALUES (?, ?, ${Object.keys(given)
       .map(() => '?')
       .join(', ')})
     ${t.words.replacing('seq', columns)}`,
    [seq, id, ...Object.values(given)],
  );
}
