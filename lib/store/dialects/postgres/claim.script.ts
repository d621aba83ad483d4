import type { JobEntity } from '../../../entities/job.entity.js';
import { newId } from '../../../model/id.js';
import type { ClaimRequest } from '../../store.js';
import { byClaimOrder, ClaimScript, type Lane } from '../../typeorm/claim.script.js';
import type { Line } from '../../typeorm/limit-turns.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type Script, type SqlValue, type Statement } from '../sql.js';
import { numbers, texts } from './arrays.js';
import { CLAIMED, claimedJob } from './claimed-row.js';
import type { ReadyFront, ReadyRange } from './ready-front.js';

export const MAY_START = '(expires_at_ms IS NULL OR expires_at_ms > ? OR revision > 0)';
export const ORDER = 'ORDER BY priority DESC, run_at_ms, seq';

/** Where claims begin. */
type Front = Pick<ReadyFront, 'rangesOf' | 'taken'>;

/**
 * Takes ready jobs on PostgreSQL. Rows are locked where they are found, in claim order, and those
 * that another process is taking are passed over, so processes do not wait for each other; what is
 * locked is what is changed, because the changing part reads the locked numbers and nothing else.
 */
export class PostgresClaimScript extends ClaimScript {
  readonly #one: string;
  readonly #many: string;
  readonly #lanes: (ready: number) => string;
  readonly #oneFrom: string;
  readonly #manyFrom: string;
  readonly #chosen: string;
  readonly #lines: string;
  readonly #front: Front | undefined;

  constructor(tables: TableNames, front?: Front) {
    super(tables);
    this.#front = front;
    const { jobs, queues } = tables;
    const open = `NOT EXISTS (SELECT 1 FROM ${queues} WHERE name = ? AND paused = 1)`;
    const set = taking(jobs);
    // One range of the ready index, read in its own order until enough rows are locked.
    this.#one = `WITH taken AS MATERIALIZED (
        SELECT seq FROM ${jobs} WHERE ready = 1 AND type = ? AND channel = ? AND ${MAY_START} AND ${open}
        ${ORDER} LIMIT ? FOR UPDATE SKIP LOCKED)
      ${set}`;
    // Several: first it is counted, without locks, how many of each lane are among the best; then
    // so many are locked in each. Locking all candidates instead would hide them from others.
    this.#many = `WITH lane AS MATERIALIZED (
        SELECT type, channel FROM unnest(?::text[], ?::text[]) AS lane (type, channel) WHERE ${open}),
      wanted AS MATERIALIZED (
        SELECT type, channel, count(*) AS jobs FROM (
          SELECT lane.type, lane.channel FROM lane CROSS JOIN LATERAL (
            SELECT priority, run_at_ms, seq FROM ${jobs} AS job
            WHERE ready = 1 AND job.type = lane.type AND job.channel = lane.channel AND ${MAY_START}
            ${ORDER} LIMIT ?::bigint) AS first
          ${ORDER} LIMIT ?::bigint) AS best GROUP BY type, channel),
      taken AS MATERIALIZED (
        SELECT locked.seq FROM wanted CROSS JOIN LATERAL (
          SELECT seq FROM ${jobs} AS job
          WHERE ready = 1 AND job.type = wanted.type AND job.channel = wanted.channel AND ${MAY_START}
          ${ORDER} LIMIT wanted.jobs FOR UPDATE SKIP LOCKED) AS locked)
      ${set}`;
    // The same from where the lines of each priority begin, as far as that is known.
    this.#oneFrom = `WITH taken AS MATERIALIZED (
        SELECT seq FROM ${jobs} WHERE ready = 1 AND type = ? AND channel = ? AND priority = ? AND run_at_ms >= ?
          AND ${MAY_START} AND ${open}
        ORDER BY run_at_ms, seq LIMIT ? FOR UPDATE SKIP LOCKED)
      ${set}`;
    const ranged = (range: string): string =>
      `FROM ${jobs} AS job WHERE ready = 1 AND job.type = ${range}.type AND job.channel = ${range}.channel
        AND job.priority = ${range}.priority AND job.run_at_ms >= ${range}.from_ms AND ${MAY_START}
      ORDER BY job.run_at_ms, job.seq`;
    this.#manyFrom = `WITH line AS MATERIALIZED (
        SELECT type, channel, priority, from_ms
        FROM unnest(?::text[], ?::text[], ?::int[], ?::bigint[]) AS line (type, channel, priority, from_ms)
        WHERE ${open}),
      wanted AS MATERIALIZED (
        SELECT type, channel, priority, from_ms, count(*) AS jobs FROM (
          SELECT line.*, first.run_at_ms, first.seq
          FROM line CROSS JOIN LATERAL (SELECT job.run_at_ms, job.seq ${ranged('line')} LIMIT ?::bigint) AS first
          ${ORDER} LIMIT ?::bigint) AS best GROUP BY type, channel, priority, from_ms),
      taken AS MATERIALIZED (
        SELECT locked.seq FROM wanted CROSS JOIN LATERAL (
          SELECT job.seq ${ranged('wanted')} LIMIT wanted.jobs FOR UPDATE SKIP LOCKED) AS locked)
      ${set}`;
    this.#chosen = `WITH taken AS MATERIALIZED (SELECT unnest(?::bigint[]) AS seq) ${set}, limit_key`;
    this.#lines = `WITH taken AS MATERIALIZED (
        SELECT locked.seq FROM unnest(?::text[], ?::text[], ?::text[], ?::bigint[]) AS line (type, channel, key, most)
        CROSS JOIN LATERAL (
          SELECT seq FROM ${jobs} AS job WHERE ready = 2 AND job.type = line.type AND job.channel = line.channel
            AND job.limit_key = line.key AND ${MAY_START}
          ${ORDER} LIMIT line.most FOR UPDATE SKIP LOCKED) AS locked)
      ${set}, limit_key`;
    const next = (ready: number, after: string): string =>
      `(SELECT MIN(channel) FROM ${jobs} AS job WHERE ready = ${ready} AND job.type = lane.type${after})`;
    this.#lanes = (ready) => `WITH RECURSIVE found (type, channel) AS (
        SELECT type, ${next(ready, '')} FROM unnest(?::text[]) AS lane (type)
        UNION ALL
        SELECT type, ${next(ready, ' AND job.channel > lane.channel')} FROM found AS lane WHERE channel IS NOT NULL)
      SELECT type, channel FROM found WHERE channel IS NOT NULL`;
  }

  override *claim(request: ClaimRequest, nowMs: number): Script<readonly JobEntity[]> {
    const { limit } = request;
    const lanes = limit <= 0 ? [] : yield* this.lanes(request);
    const [first] = lanes;
    if (first === undefined) {
      return [];
    }
    // A run's id is this claim's own prefix and the random end of the job's id.
    const prefix = newId(nowMs).slice(0, 24);
    const [soleType] = lanes.every((lane) => lane[0] === first[0]) ? first : [''];
    const changes = changesOf(request, nowMs, prefix, soleType);
    const ranges = this.#front?.rangesOf(request, lanes);
    const { sql, params } =
      ranges === undefined
        ? this.#fromStart(lanes, request, nowMs)
        : this.#from(ranges, request, nowMs);
    const rows = yield { sql, params: [...params, ...changes], alone: true, fuses: 'behind' };
    const jobs = rows
      .map((row) => claimedJob(row, { request, nowMs, prefix, soleType }))
      .sort(byClaimOrder);
    this.#front?.taken(request, lanes, jobs, nowMs);
    return jobs;
  }

  /** From the first entries of the ready index on. */
  #fromStart(lanes: readonly Lane[], { queue, limit }: ClaimRequest, nowMs: number): Statement {
    const [first] = lanes;
    return lanes.length === 1 && first !== undefined
      ? { sql: this.#one, params: [...first, nowMs, queue, limit] }
      : {
          sql: this.#many,
          params: [
            texts(lanes.map((lane) => lane[0])),
            texts(lanes.map((lane) => lane[1])),
            queue,
            nowMs,
            limit,
            limit,
            nowMs,
          ],
        };
  }

  #from(ranges: readonly ReadyRange[], { queue, limit }: ClaimRequest, nowMs: number): Statement {
    const [first] = ranges;
    return ranges.length === 1 && first !== undefined
      ? {
          sql: this.#oneFrom,
          params: [first.type, first.channel, first.priority, first.fromMs, nowMs, queue, limit],
        }
      : {
          sql: this.#manyFrom,
          params: [
            texts(ranges.map(({ type }) => type)),
            texts(ranges.map(({ channel }) => channel)),
            numbers(ranges.map(({ priority }) => priority)),
            numbers(ranges.map(({ fromMs }) => fromMs)),
            queue,
            nowMs,
            limit,
            limit,
            nowMs,
          ],
        };
  }

  /** Takes jobs that were chosen, and locked, in the same transaction. */
  *take(
    seqs: readonly number[],
    request: ClaimRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    return yield* this.#takeOf(this.#chosen, [numbers(seqs)], request, nowMs);
  }

  /** Takes the first jobs of lines that have a key, as many as each says. */
  *takeLines(
    lines: readonly Line[],
    request: ClaimRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    const params = [
      texts(lines.map(({ lane }) => lane.type)),
      texts(lines.map(({ lane }) => lane.channel)),
      texts(lines.map(({ key }) => key)),
      numbers(lines.map(({ most }) => most)),
      nowMs,
    ];
    return yield* this.#takeOf(this.#lines, params, request, nowMs);
  }

  /** They come with their keys. */
  *#takeOf(
    sql: string,
    params: readonly SqlValue[],
    request: ClaimRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    const prefix = newId(nowMs).slice(0, 24);
    const rows = yield* query(sql, [...params, ...changesOf(request, nowMs, prefix, '')]);
    return rows.map((row) => {
      const job = claimedJob(row, { request, nowMs, prefix, soleType: '' });
      job.limitKey = row[29] as string | null;
      return job;
    });
  }

  protected override *lanesOfAllChannels(
    types: readonly string[],
    ready: number,
  ): Script<readonly Lane[]> {
    const rows = yield* query(this.#lanes(ready), [texts(types)]);
    return rows.map((row): Lane => [String(row[0]), String(row[1])]);
  }
}

/** Makes the jobs that were `taken` run, and returns them. */
export function taking(jobs: string): string {
  return `UPDATE ${jobs} SET
      status = 'running', ready = 0, sequence = sequence + 1, revision = revision + 1,
      run_id = ?::text || right(job_id, 12), worker_id = ?,
      lease_until_ms = ?, updated_at_ms = ?, started_at_ms = ?,
      eta_ms = CASE WHEN timeout_sec > 0 THEN ?::bigint + floor(timeout_sec * 1000)::bigint END
    WHERE seq = ANY(ARRAY(SELECT seq FROM taken)) AND status = 'waiting'
    RETURNING ${CLAIMED}`;
}

/** What that is told. */
export function changesOf(
  { workerId, leaseMs, starts }: ClaimRequest,
  nowMs: number,
  prefix: string,
  soleType: string,
): readonly SqlValue[] {
  const startMs = starts ? nowMs : null;
  return [prefix, workerId, nowMs + leaseMs, nowMs, startMs, startMs, soleType];
}
