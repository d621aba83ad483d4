import type { JobEntity } from '../../../entities/job.entity.js';
import { NIL_TENANT } from '../../../model/tenant.js';
import type { LimitedRequest } from '../../store.js';
import type { JobScripts } from '../../typeorm/job.scripts.js';
import type { AtWork } from '../../typeorm/limit-room.js';
import {
  byOrder,
  candidateOf,
  type Candidate,
  type InLine,
  type LimitLane,
  type Line,
} from '../../typeorm/limit-turns.js';
import { LimitedClaims, type Served } from '../../typeorm/limited-claim.script.js';
import type { TableNames } from '../../typeorm/table-names.js';
import { query, type Script, type SqlValue } from '../sql.js';
import { MAY_START, ORDER, type SqliteClaimScript } from './claim.script.js';
import type { Declaration, Declarations } from './declarations.js';
import { PRESENT } from './sqlite-clock.js';

const AMONG = 'SELECT value FROM json_each(?)';

/** Lines of one statement: each size is a text of its own that stays prepared. */
const SIZES = [64, 16, 4, 1];

/**
 * Claims within limits on SQLite. The write lock is what keeps others away: no row needs a lock. What is
 * at work is looked at as a whole, by the index of leases: it is what a few processes on one machine run.
 */
export class SqliteLimitedClaims extends LimitedClaims {
  protected override readonly countsAll = true;
  protected override readonly now = PRESENT;
  readonly #claims: SqliteClaimScript;
  readonly #declarations: Declarations;
  readonly #lines = new Map<number, string>();
  /** As this claim has read them. */
  #declared: ReadonlyMap<number, Declaration> = new Map();
  readonly #next: readonly [from: string, behind: string];

  constructor(
    tables: TableNames,
    scripts: JobScripts,
    claims: SqliteClaimScript,
    declarations: Declarations,
  ) {
    super(tables, scripts, '');
    this.#claims = claims;
    this.#declarations = declarations;
    this.#next = [this.#turnsSql('>='), this.#turnsSql('>')];
  }

  protected override *lanes(request: Served): Script<readonly LimitLane[]> {
    this.#declared = yield* this.#declarations.byNumber();
    const types = new Set(request.types);
    const own = [...this.#declared.values()].filter(({ type }) => types.has(type));
    const lanes = yield* this.#claims.lanesOf(own, request.channels, [1, 2]);
    return lanes.map(([line, channel]) => ({
      type: this.#declared.get(line)?.type ?? '',
      line,
      channel,
    }));
  }

  protected override *turns(
    lanes: readonly LimitLane[],
    after: string | null,
    most: number,
  ): Script<readonly InLine[]> {
    const rows = yield* query(this.#next[after === null ? 0 : 1], [
      JSON.stringify(lanes.map(({ line, channel }) => [line, channel])),
      after ?? '',
      most,
    ]);
    return rows.map((row) => ({
      // The numbers are those of the lanes given.
      lane: lanes[Number(row[0])] as LimitLane,
      key: row[1] === null ? null : String(row[1]),
    }));
  }

  protected override *atWork(
    _firstParts: readonly string[] | undefined,
    withReturning: boolean,
  ): Script<readonly AtWork[]> {
    const declared = (this.#declared = yield* this.#declarations.byNumber());
    const rows = yield* query(
      `SELECT declaration, limit_key, COUNT(*) FROM ${this.t.rows} INDEXED BY ${this.t.index('jobs_lease')}
       WHERE lease_until_ms IS NOT NULL AND limit_key IS NOT NULL AND status <> 'resuming'
         AND (status <> 'locked'${withReturning ? ' OR locked_by IS NULL' : ''})
       GROUP BY declaration, limit_key`,
    );
    return rows.map((row) => {
      const { type = '', queue = '' } = declared.get(Number(row[0])) ?? {};
      return { type, queue, key: String(row[1]), count: Number(row[2]) };
    });
  }

  protected override *candidates(
    lines: readonly Line[],
    nowMs: number,
  ): Script<readonly Candidate[]> {
    const found: Candidate[] = [];
    for (const alike of bySize(lines)) {
      const [first] = alike;
      const rows = yield* query(this.#candidatesSql(first?.key === null), [
        JSON.stringify(alike.map(({ lane, key }) => [lane.line, lane.channel, key])),
        nowMs,
        Math.max(...alike.map(({ most }) => most)),
      ]);
      for (const row of rows) {
        found.push(candidateOf(alike[Number(row[0])] as Line, row));
      }
    }
    return found;
  }

  protected override *takeLines(
    lines: readonly Line[],
    request: LimitedRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    const wanted = lines.reduce((sum, { most }) => sum + most, 0);
    const jobs: JobEntity[] = [];
    for (let from = 0; from < lines.length;) {
      const size = SIZES.find((each) => lines.length - from >= each) ?? 1;
      const params = lines
        .slice(from, from + size)
        .flatMap(({ lane, key, most }): SqlValue[] => [lane.line, lane.channel, key, most]);
      // Found first and changed then: each change would else look at the cursors of all lines.
      const found = yield* query(this.#linesSql(size), params);
      const seqs = found[0]?.[0] ?? '[]';
      jobs.push(...(yield* this.#takeOf(AMONG, [seqs], request, nowMs)));
      from += size;
    }
    // A line that gave less has no more, or begins with jobs that have expired.
    if (jobs.length < wanted && (yield* this.#hasExpired(nowMs))) {
      const given = new Map<string | null, number>();
      jobs.forEach(({ limitKey }) => given.set(limitKey, (given.get(limitKey) ?? 0) + 1));
      const rest = lines
        .map((line) => ({ ...line, most: line.most - (given.get(line.key) ?? 0) }))
        .filter(({ most }) => most > 0);
      const left = [...(yield* this.candidates(rest, nowMs))].sort(byOrder);
      const best = rest.flatMap((line) =>
        left.filter((each) => each.line === line).slice(0, line.most),
      );
      jobs.push(...(yield* this.take(best, request, nowMs)));
    }
    return jobs;
  }

  protected override take(
    chosen: readonly Candidate[],
    request: LimitedRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    const seqs = chosen.map(({ seq }) => seq);
    return this.#takeOf(AMONG, [JSON.stringify(seqs)], request, nowMs);
  }

  protected override *unkeyed(
    { line, channel }: LimitLane,
    most: number,
  ): Script<readonly (readonly [seq: number, tenantId: string])[]> {
    const rows = yield* query(
      `SELECT seq, tenant_id FROM ${this.t.rows} WHERE ready = 1 AND declaration = ? AND channel = ? LIMIT ? + 0`,
      [line, channel, most],
    );
    return rows.map((row) => [Number(row[0]), String(row[1] ?? NIL_TENANT)]);
  }

  #turnsSql(compares: '>' | '>='): string {
    const next = (than: string): string =>
      `(SELECT MIN(limit_key) FROM ${this.t.rows} WHERE ready = 2 AND declaration = lane.line AND channel = lane.channel AND limit_key ${than})`;
    return `WITH RECURSIVE given (n, line, channel) AS MATERIALIZED (
        SELECT key, value ->> 0, value ->> 1 FROM json_each(?)),
      lane (n, line, channel, k, step) AS (
        SELECT n, line, channel, ${next(`${compares} ?`)}, 1 FROM given AS lane
        UNION ALL
        SELECT n, line, channel, ${next('> lane.k')}, step + 1 FROM lane WHERE k IS NOT NULL AND step < ?)
      SELECT n, k FROM lane WHERE k IS NOT NULL
      UNION ALL
      SELECT n, NULL FROM given WHERE EXISTS (
        SELECT 1 FROM ${this.t.rows} WHERE ready = 1 AND declaration = given.line AND channel = given.channel)`;
  }

  #takeOf(
    seqs: string,
    params: readonly SqlValue[],
    request: LimitedRequest,
    nowMs: number,
  ): Script<readonly JobEntity[]> {
    return this.#claims.takeOf(seqs, params, request, nowMs, this.#declared);
  }

  /** Whether any job is in line that has expired, and that nobody has skipped yet. */
  *#hasExpired(nowMs: number): Script<boolean> {
    const rows = yield* query(
      `SELECT 1 FROM ${this.t.rows} WHERE expires_at_ms IS NOT NULL AND finished_at_ms IS NULL
       AND expires_at_ms <= ? AND ready = 2 LIMIT 1`,
      [nowMs],
    );
    return rows.length > 0;
  }

  /**
   * Of each line the first rows, as many as it says, by the index alone: whether they have expired is
   * looked at when they are taken.
   */
  #linesSql(lines: number): string {
    let sql = this.#lines.get(lines);
    if (sql === undefined) {
      const line = `SELECT seq FROM (SELECT seq FROM ${this.t.rows}
        WHERE ready = 2 AND declaration = ? AND channel = ? AND limit_key = ? ${ORDER} LIMIT ? + 0)`;
      sql = `SELECT json_group_array(seq) FROM (${Array.from({ length: lines }, () => line).join('\n UNION ALL ')})`;
      this.#lines.set(lines, sql);
    }
    return sql;
  }

  /** Of each line the first rows: as many, since a LIMIT cannot differ from line to line. */
  #candidatesSql(isUnkeyed: boolean): string {
    return `SELECT line.key, seq, priority, run_at_ms FROM json_each(?) AS line, ${this.t.rows}
      WHERE seq IN (SELECT seq FROM ${this.t.rows}
        WHERE ${isUnkeyed ? 'ready = 1' : 'ready = 2 AND limit_key = line.value ->> 2'}
          AND declaration = line.value ->> 0 AND channel = line.value ->> 1 AND ${MAY_START}
        ${ORDER} LIMIT ? + 0)`;
  }
}

/** Lines that want about as much; those without a key go by another index. */
function bySize(lines: readonly Line[]): readonly (readonly Line[])[] {
  const groups = new Map<number, Line[]>();
  for (const line of lines) {
    const size = line.key === null ? -1 : Math.ceil(Math.log2(line.most));
    groups.set(size, [...(groups.get(size) ?? []), line]);
  }
  return [...groups.values()];
}
