import type { Change } from '../history.js';
import type { FaultDatabase, Kind } from './fault-database.js';

/**
 * The database itself writes down each new job, and each change of one's status or run: a trigger, in the
 * transaction of the change, while the row is locked, at the time of the server's own clock at that moment. What was
 * rolled back is not there, and what was committed is, whatever anybody was told.
 */
const TABLE = 'fault_journal';

/** When each job was stored. */
const BIRTHS = 'fault_births';

const COLUMNS =
  'at_us, seq, was_status, was_run_id, was_lease_until_ms, status, run_id, lease_until_ms, revision';

const VALUES =
  'OLD.seq, OLD.status, OLD.run_id, OLD.lease_until_ms, NEW.status, NEW.run_id, NEW.lease_until_ms, NEW.revision';

/** The moment of the row's change, in microseconds: not when its statement or transaction began. */
const NOW_US: Readonly<Record<Kind, string>> = {
  // In milliseconds; nobody else writes meanwhile.
  sqlite: `CAST(ROUND(unixepoch('subsec') * 1000) AS INTEGER) * 1000`,
  postgres: '(extract(epoch FROM clock_timestamp()) * 1000000)::bigint',
  mariadb: 'CAST(UNIX_TIMESTAMP(SYSDATE(6)) * 1000000 AS UNSIGNED)',
};

const NOTE = (kind: Kind): string =>
  `INSERT INTO ${TABLE} (${COLUMNS}) VALUES (${NOW_US[kind]}, ${VALUES})`;

const NOTE_BIRTH = (kind: Kind): string =>
  `INSERT INTO ${BIRTHS} (at_us, seq) VALUES (${NOW_US[kind]}, NEW.seq)`;

const TEXTS =
  'was_status VARCHAR(12), was_run_id VARCHAR(36), was_lease_until_ms BIGINT, status VARCHAR(12), run_id VARCHAR(36), lease_until_ms BIGINT, revision INTEGER';

const STATEMENTS: Readonly<Record<Kind, readonly string[]>> = {
  sqlite: [
    `CREATE TABLE ${TABLE} (n INTEGER PRIMARY KEY, at_us BIGINT, seq BIGINT, ${TEXTS})`,
    `CREATE TRIGGER ${TABLE}_kept AFTER UPDATE OF status, run_id ON job_rows
     WHEN OLD.status IS NOT NEW.status OR OLD.run_id IS NOT NEW.run_id
     BEGIN ${NOTE('sqlite')}; END`,
    `CREATE TABLE ${BIRTHS} (n INTEGER PRIMARY KEY, at_us BIGINT, seq BIGINT)`,
    `CREATE TRIGGER ${BIRTHS}_kept AFTER INSERT ON job_rows BEGIN ${NOTE_BIRTH('sqlite')}; END`,
  ],
  postgres: [
    `CREATE TABLE ${TABLE} (n BIGSERIAL PRIMARY KEY, at_us BIGINT, seq BIGINT, ${TEXTS})`,
    `CREATE FUNCTION ${TABLE}_kept() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN ${NOTE('postgres')}; RETURN NULL; END $$`,
    `CREATE TRIGGER ${TABLE}_kept AFTER UPDATE ON jobs FOR EACH ROW
     WHEN (OLD.status IS DISTINCT FROM NEW.status OR OLD.run_id IS DISTINCT FROM NEW.run_id)
     EXECUTE FUNCTION ${TABLE}_kept()`,
    `CREATE TABLE ${BIRTHS} (n BIGSERIAL PRIMARY KEY, at_us BIGINT, seq BIGINT)`,
    `CREATE FUNCTION ${BIRTHS}_kept() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN ${NOTE_BIRTH('postgres')}; RETURN NULL; END $$`,
    `CREATE TRIGGER ${BIRTHS}_kept AFTER INSERT ON jobs FOR EACH ROW
     EXECUTE FUNCTION ${BIRTHS}_kept()`,
  ],
  mariadb: [
    `CREATE TABLE ${TABLE} (n BIGINT AUTO_INCREMENT PRIMARY KEY, at_us BIGINT, seq BIGINT, ${TEXTS})`,
    `CREATE TRIGGER ${TABLE}_kept AFTER UPDATE ON jobs FOR EACH ROW
     IF NOT (OLD.status <=> NEW.status AND OLD.run_id <=> NEW.run_id) THEN ${NOTE('mariadb')}; END IF`,
    `CREATE TABLE ${BIRTHS} (n BIGINT AUTO_INCREMENT PRIMARY KEY, at_us BIGINT, seq BIGINT)`,
    `CREATE TRIGGER ${BIRTHS}_kept AFTER INSERT ON jobs FOR EACH ROW ${NOTE_BIRTH('mariadb')}`,
  ],
};

/** From here on; the tables are there. */
export async function keepJournal({ kind, ask }: FaultDatabase): Promise<void> {
  for (const statement of STATEMENTS[kind]) {
    await ask(statement);
  }
}

/** All changes, oldest first; those of a job are in the order in which they happened. */
export async function journalOf({ ask }: Pick<FaultDatabase, 'ask'>): Promise<readonly Change[]> {
  const rows = await ask(
    `SELECT journal.*, jobs.job_id FROM ${TABLE} AS journal JOIN jobs ON jobs.seq = journal.seq ORDER BY at_us, n`,
  );
  const text = (value: unknown): string | null => value as string | null;
  const number = (value: unknown): number | null => (value === null ? null : Number(value));
  return rows.map((row) => ({
    at: Number(row['at_us']) / 1000,
    job: String(row['job_id']),
    before: {
      status: String(row['was_status']),
      runId: text(row['was_run_id']),
      leaseUntil: number(row['was_lease_until_ms']),
    },
    status: String(row['status']),
    runId: text(row['run_id']),
    leaseUntil: number(row['lease_until_ms']),
    revision: Number(row['revision']),
  }));
}

/** When each job was stored, by id. */
export async function birthsOf({
  ask,
}: Pick<FaultDatabase, 'ask'>): Promise<ReadonlyMap<string, number>> {
  const rows = await ask(
    `SELECT births.at_us, jobs.job_id FROM ${BIRTHS} AS births JOIN jobs ON jobs.seq = births.seq`,
  );
  return new Map(rows.map((row) => [String(row['job_id']), Number(row['at_us']) / 1000]));
}
