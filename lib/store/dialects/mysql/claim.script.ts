import type { JobEntity } from '../../../entities/job.entity.js';
import { newId } from '../../../model/id.js';
import type { ClaimRequest } from '../../store.js';
import { CLAIMED_COLUMNS, claimedJobOfRow } from '../../typeorm/claimed-job.js';
import { byClaimOrder, ClaimScript, type Lane } from '../../typeorm/claim.script.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type Row, type Script, type SqlValue } from '../sql.js';

export const MAY_START = '(expires_at_ms IS NULL OR expires_at_ms > ? OR revision > 0)';
export const ORDER = 'ORDER BY priority DESC, run_at_ms, seq';
/** Lanes that are looked at in one statement. */
const MOST_LANES = 50;

/**
 * Takes ready jobs on MySQL and MariaDB, which cannot lock and change and give back in one statement:
 * rows are locked where they are found, in the order of the ready index, while those that another
 * process is taking are passed over; then all of them are changed by their numbers.
 *
 * The index is named, because statistics are older than the last burst. Nobody waits for a lock while
 * holding an entry of that index, so that a claim and a write of one job, which lock the entry and the
 * row in opposite orders, do not wait for each other.
 */
export class MysqlClaimScript extends ClaimScript {
  readonly #t: TableNames;
  readonly #ready: string;
  readonly #columns: string;

  constructor(tables: TableNames) {
    super(tables);
    this.#t = tables;
    const { jobs, queues } = tables;
    this.#ready = `FROM ${jobs} FORCE INDEX (${tables.index('jobs_ready')})
      WHERE ready = 1 AND type = ? AND channel = ? AND limit_key IS NULL AND ${MAY_START}
        AND NOT EXISTS (SELECT 1 FROM ${queues} WHERE name = ? AND paused = 1)
      ${ORDER} LIMIT ?`;
    // As the change that follows will leave them.
    this.#columns = CLAIMED_COLUMNS.split(', ')
      .map((column) =>
        column === 'sequence' || column === 'revision'
          ? `${column} + 1`
          : column === 'run_id'
            ? this.#runId()
            : column,
      )
      .join(', ');
  }

  override *claim(request: ClaimRequest, nowMs: number): Script<readonly JobEntity[]> {
    const { limit } = request;
    const prefix = newId(nowMs).slice(0, 24);
    const rows: Row[] = [];
    for (const [lane, most] of yield* this.#wanted(request, nowMs)) {
      rows.push(
        ...(yield* query(`SELECT ${this.#columns} ${this.#ready} FOR UPDATE SKIP LOCKED`, [
          prefix,
          ...this.#params(lane, request, nowMs, most),
        ])),
      );
    }
    if (limit <= 0 || rows.length === 0) {
      return [];
    }
    return (yield* this.#change(rows, prefix, request, nowMs)).toSorted(byClaimOrder);
  }

  /** Changes locked rows. */
  *#change(
    rows: readonly Row[],
    prefix: string,
    request: ClaimRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    const { starts } = request;
    yield {
      sql: `UPDATE ${this.#t.jobs} SET
         status = 'running', ready = 0, room = NULL, sequence = sequence + 1, revision = revision + 1,
         run_id = ${this.#runId()}, worker_id = ?, lease_until_ms = ?, updated_at_ms = ?, started_at_ms = ?,
         eta_ms = CASE WHEN timeout_sec > 0 THEN ? + FLOOR(timeout_sec * 1000) END
       WHERE seq IN (?*)`,
      params: [
        prefix,
        request.workerId,
        nowMs + request.leaseMs,
        nowMs,
        starts ? nowMs : null,
        starts ? nowMs : null,
        JSON.stringify(rows.map((row) => Number(row[0])).sort((a, b) => a - b)),
      ],
      // The rows are locked: nothing is left to be asked.
      deferred: true,
    };
    return rows.map((row) => claimedJobOfRow(row, request, nowMs));
  }

  /**
   * Takes jobs that were chosen in the same transaction by their keys, but for those that somebody holds, or has
   * given another key since they were looked at.
   */
  *take(
    chosen: ReadonlyMap<number, string | null>,
    request: ClaimRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    const prefix = newId(nowMs).slice(0, 24);
    const seqs = [...chosen.keys()].sort((a, b) => a - b);
    const found = yield* query(
      `SELECT ${this.#columns}, limit_key FROM ${this.#t.jobs} FORCE INDEX (PRIMARY)
       WHERE seq IN (?*) AND ready > 0 FOR UPDATE SKIP LOCKED`,
      [prefix, JSON.stringify(seqs)],
    );
    const rows = found.filter((row) => (row.at(-1) ?? null) === chosen.get(Number(row[0])));
    if (rows.length === 0) {
      return [];
    }
    const jobs = yield* this.#change(rows, prefix, request, nowMs);
    jobs.forEach((job, at) => (job.limitKey = (rows[at]?.at(-1) ?? null) as string | null));
    return jobs;
  }

  /** Which channels have ready jobs: one step in the index for each, however many jobs it has. */
  protected override *lanesOfAllChannels(
    types: readonly string[],
    ready: number,
  ): Script<readonly Lane[]> {
    const lanes: Lane[] = [];
    for (const type of types) {
      for (let channel: SqlValue = null; ;) {
        const after: readonly SqlValue[] = channel === null ? [] : [channel];
        const [row]: readonly Row[] = yield* query(
          `SELECT MIN(channel) FROM ${this.#t.jobs} FORCE INDEX (${this.#t.index('jobs_ready')})
           WHERE ready = ${ready} AND type = ?${channel === null ? '' : ' AND channel > ?'}`,
          [type, ...after],
        );
        channel = row?.[0] ?? null;
        if (channel === null) {
          break;
        }
        lanes.push([type, String(channel)]);
      }
    }
    return lanes;
  }

  /**
   * How many to take of which lane. Of several it is counted first, without locks, how many of each
   * are among the best: locking all candidates would hide them from others.
   */
  *#wanted(
    request: ClaimRequest,
    nowMs: number,
  ): Script<readonly (readonly [lane: Lane, most: number])[]> {
    const { limit } = request;
    const lanes = limit <= 0 ? [] : yield* this.lanes(request);
    if (lanes.length <= 1) {
      return lanes.map((lane) => [lane, limit] as const);
    }
    const candidates: (readonly [lane: number, priority: number, runAtMs: number, seq: number])[] =
      [];
    for (let from = 0; from < lanes.length; from += MOST_LANES) {
      const part = lanes.slice(from, from + MOST_LANES);
      const rows = yield* query(
        part
          .map((_, at) => `(SELECT ${from + at}, priority, run_at_ms, seq ${this.#ready})`)
          .join(' UNION ALL '),
        part.flatMap((lane) => this.#params(lane, request, nowMs, limit)),
      );
      candidates.push(
        ...rows.map(
          (row) => [Number(row[0]), Number(row[1]), Number(row[2]), Number(row[3])] as const,
        ),
      );
    }
    candidates.sort((a, b) => b[1] - a[1] || a[2] - b[2] || a[3] - b[3]);
    const counts = new Map<number, number>();
    for (const [lane] of candidates.slice(0, limit)) {
      counts.set(lane, (counts.get(lane) ?? 0) + 1);
    }
    // The lane was counted, so it is there.
    return [...counts].map(([lane, most]) => [lanes[lane] as Lane, most] as const);
  }

  #params(lane: Lane, request: ClaimRequest, nowMs: number, most: number): readonly SqlValue[] {
    return [...lane, nowMs, request.queue, most];
  }

  /** This claim's own prefix, and the end of the job's row number. */
  #runId(): string {
    return `CONCAT(?, LPAD(LOWER(HEX(seq & 281474976710655)), 12, '0'))`;
  }
}
