import type { JobEntity } from '../../entities/job.entity.js';
import { isFinal, type JobStatus } from '../../model/job-status.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import { query, type Script } from '../dialects/sql.js';
import type { ChangeResult, LockRefusal } from '../store.js';
import type { JobScripts } from './job.scripts.js';
import type { TableNames } from './table-names.js';

/**
 * `running` → `locked` by another job. What that one waits for is walked in the same transaction, so
 * two jobs that lock on each other at once cannot both succeed. A job that is enqueued closes no circle
 * behind a look: nobody can wait for it yet.
 */
export function* lockScript(
  tables: TableNames,
  scripts: JobScripts,
  id: string,
  runId: string,
  otherId: string,
  nowMs: number,
): Script<LockRefusal | ChangeResult> {
  yield* scripts.oneLockAtATime();
  const other = yield* scripts.find(otherId, undefined);
  if (other === undefined) {
    return 'unknown';
  }
  if (yield* leadsTo(tables, other, id)) {
    return 'circle';
  }
  const result = yield* scripts.change(
    id,
    (job) =>
      job.runId === runId && job.status === 'running'
        ? { set: { status: 'locked', lockedBy: otherId } }
        : undefined,
    undefined,
    nowMs,
  );
  return result === undefined || !result.changed ? 'lost' : result;
}

/** Whether a job is `id`, or waits for `id`, directly or through others: locked, or by what it depends on. */
function* leadsTo(t: TableNames, first: JobEntity, id: string): Script<boolean> {
  const target = seqOfId(id);
  const { seq, status, lockedBy, beside } = first;
  const isBlocked = (beside?.blockedBy ?? 0) > 0;
  const visited = new Set<number>();
  let level: readonly Waiter[] = [
    { seq, status, lockedBy, dependsOn: isBlocked ? (beside?.dependsOn ?? null) : null },
  ];
  while (level.length > 0) {
    if (level.some((each) => each.seq === target)) {
      return true;
    }
    level.forEach((each) => visited.add(each.seq));
    const named = level.filter((each) => !isFinal(each.status)).flatMap(namedBy);
    const ahead = named.filter(([on]) => !visited.has(on));
    level = ahead.length === 0 ? [] : yield* waitersAmong(t, ahead);
  }
  return false;
}

/** What is looked at of a job on the way. */
interface Waiter {
  readonly seq: number;
  readonly status: JobStatus;
  readonly lockedBy: string | null;
  /** As stored; null unless it waits for one of them. */
  readonly dependsOn: string | null;
}

/** Stands for the job that waits where that one is locked: no edge is looked for. */
const BY_LOCK = 0;

/** What a job may wait for, each with the job as its dependent. */
function namedBy({ seq, lockedBy, dependsOn }: Waiter): readonly (readonly [number, number])[] {
  const parents = JSON.parse(dependsOn ?? '[]') as readonly { readonly id: string }[];
  return [
    ...parents.map(({ id }) => [seqOfId(id) ?? -1, seq] as const),
    ...(lockedBy === null ? [] : [[seqOfId(lockedBy) ?? -1, BY_LOCK] as const]),
  ];
}

/** Those that are waited for in fact: a dependent that was told of an end and has started does not wait for its retry. */
export function* waitersAmong(
  t: TableNames,
  named: readonly (readonly [number, number])[],
): Script<readonly Waiter[]> {
  const rows = yield* query(
    `SELECT job.seq, job.status, job.locked_by, extras.depends_on
     FROM ${t.words.table('named', { parent_seq: 'number', child_seq: 'number' })}
     JOIN ${t.rows} AS job${t.words.using(undefined)} ON job.seq = named.parent_seq
     LEFT JOIN ${t.dependencies} AS edge
       ON edge.parent_seq = named.parent_seq AND edge.child_seq = named.child_seq
     LEFT JOIN ${t.extras} AS extras ON extras.seq = job.seq AND extras.blocked_by > 0
     WHERE named.child_seq = ${BY_LOCK} OR edge.told = 0`,
    [JSON.stringify(named)],
  );
  const found = rows.map(([seq, status, lockedBy, dependsOn]) => ({
    seq: Number(seq),
    status: status as JobStatus,
    lockedBy: lockedBy as string | null,
    dependsOn: dependsOn as string | null,
  }));
  // Many may wait for the same one.
  return [...new Map(found.map((each) => [each.seq, each])).values()];
}
