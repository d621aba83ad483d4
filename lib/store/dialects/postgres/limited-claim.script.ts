import type { JobEntity } from '../../../entities/job.entity.js';
import { BEHIND_PARTS, limitKeyOf } from '../../../model/limits.js';
import type { LimitedClaim, LimitedRequest } from '../../store.js';
import type { JobScripts } from '../../typeorm/job.scripts.js';
import { atWorkOf, type AtWork, type LimitRoom } from '../../typeorm/limit-room.js';
import {
  candidateOf,
  inTurns,
  type Candidate,
  type InLine,
  type LimitLane,
  type Line,
} from '../../typeorm/limit-turns.js';
import { LimitedClaims, NONE, type Served } from '../../typeorm/limited-claim.script.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type Script } from '../sql.js';
import { numbers, texts } from './arrays.js';
import { ClaimAtOnce } from './claim-at-once.js';
import { MAY_START, ORDER, type PostgresClaimScript } from './claim.script.js';
import { POSTGRES_NOW } from './words.js';

/**
 * Claims within limits on PostgreSQL. Each statement sees what was committed before it began, so the
 * rows of the limits are locked by one of their own: what is counted after it was committed by
 * whoever held them before. Jobs are locked where they are found, and those of others passed over.
 */
export class PostgresLimitedClaims extends LimitedClaims {
  protected override readonly countsAll = false;
  protected override readonly now = POSTGRES_NOW;
  readonly #claims: PostgresClaimScript;
  readonly #turns: readonly [from: string, behind: string];
  readonly #candidates: readonly [keyed: string, unkeyed: string];

  readonly #atOnce: ClaimAtOnce;
  /** Queues whose last claim gave all that was wanted. */
  readonly #plentiful = new Set<string>();

  constructor(tables: TableNames, scripts: JobScripts, claims: PostgresClaimScript) {
    super(tables, scripts, 'FOR UPDATE');
    this.#atOnce = new ClaimAtOnce(tables);
    this.#claims = claims;
    this.#turns = [this.#turnsSql('>='), this.#turnsSql('>')];
    this.#candidates = [this.#candidatesSql(true), this.#candidatesSql(false)];
  }

  override maySuit(request: LimitedRequest): boolean {
    return this.#plentiful.has(request.queue) && this.#atOnce.suits(request);
  }

  override *claimAtOnce(request: LimitedRequest, nowMs: number): Script<LimitedClaim | undefined> {
    const jobs = yield* this.#atOnce.claim(request, nowMs);
    this.#note(request, jobs);
    // Whether there is more, and what limits hold back, is for the next one to find out.
    return jobs.length === 0 ? undefined : { ...NONE, jobs: inTurns(jobs), isMore: true };
  }

  override *claim(request: LimitedRequest, nowMs: number): Script<LimitedClaim> {
    const claimed = yield* super.claim(request, nowMs);
    this.#note(request, claimed.jobs);
    return claimed;
  }

  #note({ queue, limit }: LimitedRequest, { length }: readonly JobEntity[]): void {
    if (length >= limit) {
      this.#plentiful.add(queue);
    } else {
      this.#plentiful.delete(queue);
    }
  }

  protected override *lanes(request: Served): Script<readonly LimitLane[]> {
    const lanes = yield* this.#claims.lanesOf(request, [1, 2]);
    return lanes.map(([type, channel]) => ({ type, line: type, channel }));
  }

  protected override *turns(
    lanes: readonly LimitLane[],
    after: string | null,
    most: number,
  ): Script<readonly InLine[]> {
    const rows = yield* query(this.#turns[after === null ? 0 : 1], [
      texts(lanes.map(({ type }) => type)),
      texts(lanes.map(({ channel }) => channel)),
      after ?? '',
      most,
    ]);
    return rows.map((row) => ({
      // The numbers are those of the lanes given, from 1 on.
      lane: lanes[Number(row[0]) - 1] as LimitLane,
      key: row[1] === null ? null : String(row[1]),
    }));
  }

  protected override *atWork(
    firstParts: readonly string[] | undefined,
    withReturning: boolean,
    room: LimitRoom,
  ): Script<readonly AtWork[]> {
    const held = `lease_until_ms IS NOT NULL AND limit_key IS NOT NULL AND status <> 'resuming'
      AND (status <> 'locked'${withReturning ? ' OR locked_by IS NULL' : ''})`;
    // The time comes last, so that it is not before what was committed when the counting began.
    const now = `UNION ALL SELECT NULL, NULL, NULL, ${POSTGRES_NOW}`;
    const rows =
      firstParts === undefined
        ? yield* query(
            `SELECT type, queue, limit_key, count(*) FROM ${this.t.jobs} WHERE ${held} GROUP BY type, queue, limit_key ${now}`,
          )
        : yield* query(
            `SELECT counted.* FROM unnest(?::text[]) AS wanted (part) CROSS JOIN LATERAL (
               SELECT type, queue, limit_key, count(*) FROM ${this.t.jobs}
               WHERE ${held} AND limit_key >= wanted.part AND limit_key < wanted.part || '${BEHIND_PARTS}'
               GROUP BY type, queue, limit_key) AS counted ${now}`,
            [texts(firstParts.map((part) => limitKeyOf([part])))],
          );
    const groups: AtWork[] = [];
    for (const row of rows) {
      if (row[0] === null) {
        room.passTime(Number(row[3]));
      } else {
        groups.push(atWorkOf(row));
      }
    }
    return groups;
  }

  protected override *candidates(
    lines: readonly Line[],
    nowMs: number,
  ): Script<readonly Candidate[]> {
    const found: Candidate[] = [];
    const keyed = lines.filter(({ key }) => key !== null);
    for (const [sql, alike] of [
      [this.#candidates[0], keyed],
      [this.#candidates[1], lines.filter(({ key }) => key === null)],
    ] as const) {
      const rows =
        alike.length === 0
          ? []
          : yield* query(sql, [
              texts(alike.map(({ lane }) => lane.type)),
              texts(alike.map(({ lane }) => lane.channel)),
              texts(alike.map(({ key }) => key)),
              numbers(alike.map(({ most }) => most)),
              nowMs,
            ]);
      for (const row of rows) {
        found.push(candidateOf(alike[Number(row[0]) - 1] as Line, row));
      }
    }
    return found;
  }

  protected override takeLines(
    lines: readonly Line[],
    request: LimitedRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    return this.#claims.takeLines(lines, request, nowMs);
  }

  protected override take(
    chosen: readonly Candidate[],
    request: LimitedRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    const seqs = chosen.map(({ seq }) => seq);
    return this.#claims.take(seqs, request, nowMs);
  }

  protected override *unkeyed(
    { type, channel }: LimitLane,
    most: number,
  ): Script<readonly (readonly [seq: number, tenantId: string])[]> {
    const rows = yield* query(
      `SELECT seq, tenant_id FROM ${this.t.jobs} WHERE ready = 1 AND type = ? AND channel = ?
       LIMIT ? FOR UPDATE SKIP LOCKED`,
      [type, channel, most],
    );
    return rows.map((row) => [Number(row[0]), String(row[1])]);
  }

  /** Not MIN, which statistics of an empty table turn into a walk through the index. */
  #turnsSql(compares: '>' | '>='): string {
    const next = (than: string): string =>
      `(SELECT job.limit_key FROM ${this.t.jobs} AS job WHERE job.ready = 2 AND job.type = lane.type
        AND job.channel = lane.channel AND job.limit_key ${than} ORDER BY job.limit_key LIMIT 1)`;
    return `WITH RECURSIVE given AS MATERIALIZED (
        SELECT n, type, channel FROM unnest(?::text[], ?::text[]) WITH ORDINALITY AS given (type, channel, n)),
      lane (n, type, channel, k, step) AS (
        SELECT n, type, channel, ${next(`${compares} ?::text`)}, 1 FROM given AS lane
        UNION ALL
        SELECT n, type, channel, ${next('> lane.k')}, step + 1 FROM lane WHERE k IS NOT NULL AND step < ?::int)
      SELECT n, k FROM lane WHERE k IS NOT NULL
      UNION ALL
      SELECT n, NULL FROM given WHERE EXISTS (
        SELECT 1 FROM ${this.t.jobs} AS job WHERE job.ready = 1 AND job.type = given.type AND job.channel = given.channel)`;
  }

  #candidatesSql(isKeyed: boolean): string {
    return `SELECT line.n, first.* FROM unnest(?::text[], ?::text[], ?::text[], ?::bigint[]) WITH ORDINALITY
        AS line (type, channel, key, most, n)
      CROSS JOIN LATERAL (
        SELECT seq, priority, run_at_ms FROM ${this.t.jobs} AS job
        WHERE ${isKeyed ? 'job.ready = 2 AND job.limit_key = line.key' : 'job.ready = 1'}
          AND job.type = line.type AND job.channel = line.channel AND ${MAY_START}
        ${ORDER} LIMIT line.most FOR UPDATE SKIP LOCKED) AS first`;
  }
}
