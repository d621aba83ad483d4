import { JobEntity } from '../../../entities/job.entity.js';
import { newId } from '../../../model/id.js';
import type { JobKind } from '../../../model/job.js';
import { NIL_TENANT } from '../../../model/tenant.js';
import type { ClaimRequest } from '../../store.js';
import { markClaimed } from '../../typeorm/claimed-job.js';
import { byClaimOrder, type Claims } from '../../typeorm/claim.script.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { msOfSeq } from '../shared/row-numbers.js';
import { query, type Row, type Script, type SqlValue } from '../sql.js';
import type { Declaration, Declarations } from './declarations.js';
import { extrasSql } from './dependents.js';
import { jobIdOf } from './job-ids.js';

/** A line of ready jobs: one range of the ready index. */
type Lane = readonly [declaration: number, channel: string];

/** So many lanes are named in a statement; SQLite takes at most 500 parts of a UNION. */
const MOST_NAMED = 50;

export const MAY_START = '(expires_at_ms IS NULL OR expires_at_ms > ? OR revision > 0)';
export const ORDER = 'ORDER BY priority DESC, run_at_ms, seq';

/** The last twelve digits of a run's id, as a number: the end of its job's row number. */
const RUN_NUMBERS = 2 ** 48;

// Each column returned costs a claim about 0.12 microseconds a job (better-sqlite3), so what the
// claim itself has just set, and what only an ended job has, is not asked for.
const RETURNED = [
  'seq',
  'id_high',
  'id_low',
  'tenant_id',
  'user_id',
  'idempotency_key',
  'declaration',
  'channel',
  'kind',
  'priority',
  'sequence',
  'run_at_ms',
  'expires_at_ms',
  'progress',
  'progress_details',
  'completed',
  'total',
  'timeout_sec',
  'max_retries',
  'retry_delay_sec',
  'retries',
  'lost',
  'revision',
  'params',
  'state',
  'tags',
  'meta',
  'upstream_job_id',
].join(', ');

/** Takes ready jobs of SQLite, and says whether there are any. */
export class SqliteClaimScript implements Claims {
  readonly #t: TableNames;
  readonly #declarations: Declarations;
  readonly #statements = new Map<number, string>();

  constructor(tables: TableNames, declarations: Declarations) {
    this.#t = tables;
    this.#declarations = declarations;
  }

  /**
   * Takes ready jobs. Safe because it is one statement under the write lock: the rows it selects
   * are the rows it changes, and `ready` becomes 0 in the same step.
   *
   * Plan (asserted by test/store/plans.spec.ts): one range of the ready index for each declaration
   * and channel that the worker serves, merged in claim order, so the cost is the number of jobs
   * taken plus the number of lanes; delayed, running and ended rows and other lanes' backlogs are
   * never visited.
   */
  *claim(request: ClaimRequest, nowMs: number): Script<readonly JobEntity[]> {
    const { limit, starts } = request;
    if (limit <= 0) {
      return [];
    }
    const declared = yield* this.#declarations.ofTypes(request.types);
    const lanes = yield* this.lanesOf(declared, request.channels, [1]);
    if (lanes.length === 0) {
      return [];
    }
    // A run's id is this claim's own prefix and the end of the job's row number: distinct for each
    // row of one statement without a round trip, and distinct from every other claim by time and
    // chance.
    const prefix = newId(nowMs).slice(0, 24);
    const rows = yield* query(this.#statement(lanes.length, starts), [
      prefix,
      request.workerId,
      nowMs + request.leaseMs,
      nowMs,
      ...(starts ? [nowMs, nowMs] : []),
      request.queue,
      ...(lanes.length > MOST_NAMED
        ? [JSON.stringify(lanes), nowMs, limit]
        : lanes.flatMap((lane): SqlValue[] => [...lane, nowMs])),
      limit,
    ]);
    const byNumber = new Map(declared.map((each) => [each.number, each]));
    // RETURNING promises no order.
    return rows.map((row) => claimedJob(row, byNumber, prefix, request, nowMs)).sort(byClaimOrder);
  }

  /** Takes the jobs that a statement names, in a transaction that keeps the limits; they come with their keys. */
  *takeOf(
    seqs: string,
    params: readonly SqlValue[],
    request: ClaimRequest,
    nowMs: number,
    declared: ReadonlyMap<number, Declaration>,
  ): Script<readonly JobEntity[]> {
    const prefix = newId(nowMs).slice(0, 24);
    const { starts } = request;
    const rows = yield* query(
      `UPDATE ${this.#t.rows} SET ${this.#changes(starts)}
       WHERE status = 'waiting' AND ready > 0 AND ${MAY_START} AND seq IN (${seqs})
       RETURNING ${RETURNED}, ${extrasSql(this.#t, this.#t.rows)}, limit_key`,
      [
        prefix,
        request.workerId,
        nowMs + request.leaseMs,
        nowMs,
        ...(starts ? [nowMs, nowMs] : []),
        nowMs,
        ...params,
      ],
    );
    return rows.map((row) => {
      const job = claimedJob(row, declared, prefix, request, nowMs);
      job.limitKey = row[29] as string | null;
      return job;
    });
  }

  *hasReady(request: ClaimRequest): Script<boolean> {
    for (const { number } of yield* this.#declarations.ofTypes(request.types)) {
      const channels: readonly (string | undefined)[] =
        request.channels === '*' ? [undefined] : request.channels;
      for (const channel of channels) {
        const rows = yield* query(
          `SELECT 1 FROM ${this.#t.rows} WHERE ready = 1 AND declaration = ?${channel === undefined ? '' : ' AND channel = ?'} LIMIT 1`,
          channel === undefined ? [number] : [number, channel],
        );
        if (rows.length > 0) {
          return true;
        }
      }
    }
    return false;
  }

  /** The lanes that a worker serves; of all channels those that have jobs which are ready in such a way. */
  *lanesOf(
    declared: readonly Declaration[],
    channels: ClaimRequest['channels'],
    ready: readonly number[],
  ): Script<readonly Lane[]> {
    if (channels !== '*') {
      return declared.flatMap(({ number }) => channels.map((channel): Lane => [number, channel]));
    }
    const lanes = new Map<string, Lane>();
    for (const way of ready) {
      for (const lane of yield* this.#lanesOfAllChannels(declared, way)) {
        lanes.set(lane.join(' '), lane);
      }
    }
    return [...lanes.values()];
  }

  /** Which channels have ready jobs: one step in the index for each, however many jobs it has. */
  *#lanesOfAllChannels(declared: readonly Declaration[], ready: number): Script<readonly Lane[]> {
    const next = (after: string): string =>
      `(SELECT MIN(channel) FROM ${this.#t.rows} WHERE ready = ${ready} AND declaration = lane.number${after})`;
    const rows = yield* query(
      `WITH RECURSIVE found (number, channel) AS (
         SELECT number, ${next('')} FROM (SELECT value AS number FROM json_each(?)) AS lane
         UNION ALL
         SELECT number, ${next(' AND channel > lane.channel')} FROM found AS lane WHERE channel IS NOT NULL)
       SELECT number, channel FROM found WHERE channel IS NOT NULL`,
      [JSON.stringify(declared.map((each) => each.number))],
    );
    return rows.map((row): Lane => [Number(row[0]), String(row[1])]);
  }

  #statement(lanes: number, starts: boolean): string {
    const named = Math.min(lanes, MOST_NAMED + 1);
    const key = starts ? named : -named;
    let sql = this.#statements.get(key);
    if (sql === undefined) {
      const { rows, queues } = this.#t;
      // `LIMIT ? + 0`: for a bare `LIMIT ?` SQLite prepares the statement anew at each execution.
      sql = `UPDATE ${rows} SET ${this.#changes(starts)}
        WHERE status = 'waiting'
          AND NOT EXISTS (SELECT 1 FROM ${queues} WHERE name = ? AND paused = 1)
          AND seq IN (SELECT seq FROM (
            ${lanes > MOST_NAMED ? this.#anyLanes() : this.#namedLanes(lanes)}
            ${ORDER} LIMIT ? + 0))
        RETURNING ${RETURNED}, ${extrasSql(this.#t, this.#t.rows)}`;
      this.#statements.set(key, sql);
    }
    return sql;
  }

  #changes(starts: boolean): string {
    const { rows, declarations } = this.#t;
    const timeout = `COALESCE(timeout_sec, (SELECT declared.timeout_sec FROM ${declarations} AS declared
          WHERE declared.declaration = ${rows}.declaration))`;
    return `status = 'running', ready = 0, sequence = sequence + 1, revision = revision + 1,
          run_id = ? || printf('%012x', seq & ${RUN_NUMBERS - 1}), worker_id = ?,
          lease_until_ms = ?, updated_at_ms = ?,
          ${starts ? `started_at_ms = ?, eta_ms = CASE WHEN ${timeout} > 0 THEN ? + CAST(${timeout} * 1000 AS INTEGER) END` : 'started_at_ms = NULL, eta_ms = NULL'}`;
  }

  #namedLanes(lanes: number): string {
    const lane = `SELECT seq, priority, run_at_ms FROM ${this.#t.rows}
      WHERE ready = 1 AND declaration = ? AND channel = ? AND ${MAY_START}`;
    return Array.from({ length: lanes }, () => lane).join('\n UNION ALL ');
  }

  /** Of each lane no more rows than are wanted in all. */
  #anyLanes(): string {
    return `SELECT seq, priority, run_at_ms FROM json_each(?) AS lane, ${this.#t.rows}
      WHERE seq IN (SELECT seq FROM ${this.#t.rows}
        WHERE ready = 1 AND declaration = lane.value ->> 0 AND channel = lane.value ->> 1 AND ${MAY_START}
        ${ORDER} LIMIT ? + 0)`;
  }
}

/** The job as the claim left it. */
function claimedJob(
  row: Row,
  declared: ReadonlyMap<number, Declaration>,
  runPrefix: string,
  request: ClaimRequest,
  nowMs: number,
): JobEntity {
  // The lanes are of these declarations, so each row is of one of them.
  const declaration = declared.get(row[6] as number) as Declaration;
  const job = new JobEntity();
  const seq = row[0] as number;
  job.seq = seq;
  job.id = jobIdOf(seq, row[1] as number, row[2] as number);
  job.tenantId = (row[3] as string | null) ?? NIL_TENANT;
  job.userId = row[4] as string | null;
  job.idempotencyKey = row[5] as string | null;
  job.type = declaration.type;
  job.typeVersion = declaration.typeVersion;
  job.group = declaration.group;
  job.channel = row[7] as string;
  job.kind = (row[8] as JobKind | null) ?? 'generic';
  job.priority = row[9] as number;
  job.sequence = row[10] as number;
  job.scheduledAtMs = msOfSeq(seq);
  job.runAtMs = row[11] as number;
  job.expiresAtMs = row[12] as number | null;
  job.progress = row[13] as number;
  job.progressDetails = row[14] as string | null;
  job.completed = row[15] as number | null;
  job.total = row[16] as number | null;
  job.timeoutSec = (row[17] as number | null) ?? declaration.timeoutSec;
  job.maxRetries = (row[18] as number | null) ?? declaration.maxRetries;
  job.retryDelaySec = (row[19] as number | null) ?? declaration.retryDelaySec;
  job.retries = row[20] as number;
  job.lost = row[21] as number;
  job.revision = row[22] as number;
  job.params = row[23] as string;
  job.state = row[24] as string | null;
  job.tags = row[25] as string | null;
  job.meta = row[26] as string | null;
  job.upstreamJobId = row[27] as string | null;
  job.extras = row[28] as number | null;
  job.runId = runPrefix + (seq % RUN_NUMBERS).toString(16).padStart(12, '0');
  markClaimed(job, request, nowMs);
  return job;
}
