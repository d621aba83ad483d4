import type { JobEntity } from '../../../entities/job.entity.js';
import { BEHIND_PARTS, queueScope, type Ceiling } from '../../../model/limits.js';
import { newId } from '../../../model/id.js';
import type { LimitedRequest } from '../../store.js';
import { MOST_KEYS } from '../../typeorm/limit-turns.js';
import { scopesOf } from '../../typeorm/limited-claim.script.js';
import type { TableNames } from '../../typeorm/table-names.js';
import type { Script } from '../sql.js';
import { texts } from './arrays.js';
import { changesOf, MAY_START, ORDER, taking } from './claim.script.js';
import { claimedJob } from './claimed-row.js';

/** Jobs at work, which limits count; those that want to come back from a lock as well. */
const AT_WORK = `lease_until_ms IS NOT NULL AND limit_key IS NOT NULL AND status <> 'resuming'
  AND (status <> 'locked' OR locked_by IS NULL)`;

/** What a claim at once is told about. */
interface Way {
  readonly type: string;
  readonly channel: string;
  readonly ceiling: Ceiling;
}

/**
 * The usual claim within limits as one statement, which the end of the last batch shares: keys after
 * the turn, what each has at work, its first jobs, and the next turn. It is for one type in one
 * channel with one limit by key, after a claim that gave all that was wanted.
 *
 * A statement sees what was committed before it began, and that is before it has locked the rows of the
 * limits. Each claim writes those rows, so their versions tell: only if the version that is locked is the
 * one that is seen did nobody claim in between, and what is counted is true. Else, or while somebody else
 * has the lock, it takes nothing, and the claim is done step by step.
 */
export class ClaimAtOnce {
  readonly #ofType: string;
  readonly #ofQueue: string;

  constructor(tables: TableNames) {
    this.#ofType = sqlOf(tables, 'held.type = open.type');
    this.#ofQueue = sqlOf(tables, '(held.type = open.type OR held.queue = open.queue)');
  }

  /** Whether the claim is one of those. */
  suits(request: LimitedRequest): boolean {
    return wayOf(request) !== undefined;
  }

  /** What it took; nothing where it is to be done step by step. */
  *claim(request: LimitedRequest, nowMs: number): Script<readonly JobEntity[]> {
    const way = wayOf(request);
    if (way === undefined) {
      return [];
    }
    const { type, channel, ceiling } = way;
    const { queue, limit, limits } = request;
    const scope = queueScope(queue);
    const prefix = newId(nowMs).slice(0, 24);
    const rows = yield {
      sql: ceiling.scope === scope ? this.#ofQueue : this.#ofType,
      params: [
        type,
        channel,
        queue,
        scope,
        texts(scopesOf(queue, limits)),
        limit,
        Math.min(limit, MOST_KEYS),
        ceiling.most,
        nowMs,
        ...changesOf(request, nowMs, prefix, type),
      ],
      alone: true,
      fuses: 'behind',
    };
    return rows.map((row) => {
      const job = claimedJob(row, { request, nowMs, prefix, soleType: type });
      job.limitKey = row[29] as string | null;
      return job;
    });
  }
}

function wayOf({ types, channels, limits, goOn, limit }: LimitedRequest): Way | undefined {
  const [type] = types;
  const [channel] = channels;
  const limited = type === undefined ? undefined : limits.get(type);
  const [ceiling] = limited?.ceilings ?? [];
  const isOne = types.length === 1 && channels !== '*' && channels.length === 1;
  return isOne &&
    type !== undefined &&
    channel !== undefined &&
    limited?.ceilings.length === 1 &&
    ceiling !== undefined &&
    ceiling.perMs === undefined &&
    ceiling.part === 0 &&
    goOn === undefined &&
    limit > 0
    ? { type, channel, ceiling }
    : undefined;
}

/** Not EXISTS for jobs without a key: statistics of an empty table make a walk through all of the index of it. */
function sqlOf({ jobs, limits, queues }: TableNames, isCounted: string): string {
  const next = (than: string): string =>
    `(SELECT job.limit_key FROM ${jobs} AS job WHERE job.ready = 2 AND job.type = open.type
      AND job.channel = open.channel AND job.limit_key ${than} ORDER BY job.limit_key LIMIT 1)`;
  const own = `limit_key = '' AND scope = ANY(ARRAY(SELECT unnest(scopes) FROM given))`;
  return `WITH RECURSIVE given AS MATERIALIZED (
      SELECT ?::text AS type, ?::text AS channel, ?::text AS queue, ?::text AS scope, ?::text[] AS scopes,
        ?::bigint AS wanted, ?::bigint AS most_keys, ?::bigint AS ceiling, ?::bigint AS now_ms),
    seen AS MATERIALIZED (SELECT scope, turn, xmin::text AS version FROM ${limits} WHERE ${own}),
    locked AS MATERIALIZED (
      SELECT scope, xmin::text AS version FROM ${limits} WHERE ${own} FOR UPDATE SKIP LOCKED),
    open AS MATERIALIZED (
      SELECT given.*, seen.turn FROM given JOIN seen ON seen.scope = given.scope
      WHERE seen.turn IS NOT NULL
        AND (SELECT count(*) FROM locked JOIN seen USING (scope, version)) = cardinality(scopes)
        AND NOT EXISTS (SELECT 1 FROM ${queues} WHERE name = given.queue AND paused = 1)
        AND (SELECT 1 FROM ${jobs} AS job
          WHERE job.ready = 1 AND job.type = given.type AND job.channel = given.channel LIMIT 1) IS NULL),
    ahead (key, n) AS (
      SELECT ${next('> open.turn')}, 1::bigint FROM open
      UNION ALL
      SELECT ${next('> ahead.key')}, n + 1 FROM ahead CROSS JOIN open
      WHERE key IS NOT NULL AND n < open.most_keys),
    again (key, n) AS (
      SELECT ${next(">= ''")}, found.keys + 1
      FROM open CROSS JOIN (SELECT count(key) AS keys FROM ahead) AS found WHERE found.keys < open.most_keys
      UNION ALL
      SELECT ${next('> again.key')}, n + 1 FROM again CROSS JOIN open
      WHERE key < open.turn AND n < open.most_keys),
    turns AS MATERIALIZED (
      SELECT key, n FROM ahead WHERE key IS NOT NULL
      UNION ALL
      SELECT key, n FROM again CROSS JOIN open WHERE key <= open.turn),
    lines AS MATERIALIZED (
      SELECT key, n, GREATEST(0, LEAST(open.ceiling - counted.jobs,
        wanted / total.keys + CASE WHEN n <= wanted % total.keys THEN 1 ELSE 0 END)) AS most
      FROM open CROSS JOIN (SELECT count(*) AS keys, bool_or(position(chr(31) IN key) > 0) AS has_parts FROM turns) AS total
      CROSS JOIN turns CROSS JOIN LATERAL (
        SELECT count(*) AS jobs FROM ${jobs} AS held
        WHERE ${AT_WORK} AND limit_key >= turns.key AND limit_key < turns.key || '${BEHIND_PARTS}' AND ${isCounted}) AS counted
      WHERE NOT total.has_parts),
    taken AS MATERIALIZED (
      SELECT first.seq FROM open CROSS JOIN lines CROSS JOIN LATERAL (
        SELECT seq FROM ${jobs} AS job WHERE ready = 2 AND job.type = open.type AND job.channel = open.channel
          AND job.limit_key = lines.key AND ${MAY_START.replace('?', 'open.now_ms')}
        ${ORDER} LIMIT lines.most FOR UPDATE SKIP LOCKED) AS first),
    moved AS (
      UPDATE ${limits} SET turn = (SELECT key FROM lines WHERE most > 0 ORDER BY n DESC LIMIT 1)
      WHERE ${own} AND EXISTS (SELECT 1 FROM taken))
    ${taking(jobs)}, limit_key`;
}
