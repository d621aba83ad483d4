import { VERDICT, type OnFailure } from '../../model/dependencies.js';
import { isFinal, type JobStatus } from '../../model/job-status.js';
import { query, type Script, type SqlValue } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import { dependenciesIn, isDone } from './dependency-verdict.js';
import type { TableNames } from './table-names.js';

const CHILDREN_AT_ONCE = 500;

/** A job that waits for others, and for which. */
export interface Waiter {
  readonly seq: number;
  readonly dependsOn: string | null;
}

/**
 * A job that had ended is retried: those of its dependents that have not started wait for it again, and what
 * its end meant for them counts no more. A retry is always a transaction of our own, which sees what others
 * have committed.
 */
export function* waitAgain(t: TableNames, parent: number, nowMs: number): Script<void> {
  const { words, dependencies, jobs } = t;
  let last = -1;
  for (;;) {
    const found = yield* query(
      `SELECT edge.child_seq
       FROM ${dependencies} AS edge${words.using(undefined)} JOIN ${jobs} AS child ON child.seq = edge.child_seq
       WHERE edge.parent_seq = ? AND edge.child_seq > ? AND edge.told = 1
         AND child.finished_at_ms IS NULL AND child.revision = 0
       ORDER BY edge.child_seq LIMIT ${CHILDREN_AT_ONCE}`,
      [parent, last],
    );
    if (found.length > 0) {
      last = Number(found.at(-1)?.[0]);
      yield* holdBack(t, parent, JSON.stringify(found.map(([seq]) => Number(seq))), nowMs);
    }
    if (found.length < CHILDREN_AT_ONCE) {
      return;
    }
  }
}

/** What stands beside the dependents is locked before their rows, as by whoever tells them. */
function* holdBack(t: TableNames, parent: number, those: string, nowMs: number): Script<void> {
  const { words, dependencies, extras, rows } = t;
  const beside = yield* query(
    `SELECT seq, depends_on FROM ${extras} WHERE seq ${words.amongNumbers} ORDER BY seq ${words.forUpdate}`,
    [those],
  );
  const unstarted = yield* query(
    `SELECT seq FROM ${rows}${words.using(undefined)}
     WHERE seq ${words.amongNumbers} AND finished_at_ms IS NULL AND revision = 0
     ORDER BY seq ${words.forUpdate}`,
    [those],
  );
  const seqs = new Set(unstarted.map(([seq]) => Number(seq)));
  const children = JSON.stringify([...seqs]);
  yield* query(
    `UPDATE ${dependencies} SET told = 0 WHERE parent_seq = ? AND child_seq ${words.amongNumbers}`,
    [parent, children],
  );
  yield* query(`UPDATE ${extras} SET blocked_by = blocked_by + 1 WHERE seq ${words.amongNumbers}`, [
    children,
  ]);
  yield* query(
    `UPDATE ${rows} SET ready = -1, updated_at_ms = ?
     WHERE seq ${words.amongNumbers} AND status = 'waiting' AND ready >= 0`,
    [nowMs, children],
  );
  const waiters = beside.map(([seq, dependsOn]) => ({
    seq: Number(seq),
    dependsOn: text(dependsOn),
  }));
  yield* judge(
    t,
    waiters.filter(({ seq }) => seqs.has(seq)),
  );
}

/** Writes the verdict on jobs that is left by those they have been told of, as these stand by now. */
export function* judge(t: TableNames, waiters: readonly Waiter[]): Script<void> {
  const { words, dependencies, extras, jobs } = t;
  const parents = new Set(
    waiters.flatMap(({ dependsOn }) =>
      dependenciesIn(dependsOn).map(({ id }) => seqOfId(id) ?? -1),
    ),
  );
  const told = yield* query(
    `SELECT edge.child_seq, edge.on_failure, parent.status
     FROM ${dependencies} AS edge${words.using(undefined)} JOIN ${jobs} AS parent ON parent.seq = edge.parent_seq
     WHERE edge.parent_seq ${words.amongNumbers} AND edge.child_seq ${words.amongNumbers} AND edge.told = 1`,
    [JSON.stringify([...parents]), JSON.stringify(waiters.map(({ seq }) => seq))],
  );
  const verdicts = new Map<number, number>(waiters.map(({ seq }) => [seq, VERDICT.run]));
  for (const [child, onFailure, status] of told) {
    const seq = Number(child);
    if (isFinal(status as JobStatus) && !isDone(status as JobStatus)) {
      const verdict = VERDICT[onFailure as OnFailure];
      verdicts.set(seq, Math.max(verdict, verdicts.get(seq) ?? VERDICT.run));
    }
  }
  for (const verdict of new Set(verdicts.values())) {
    const those = [...verdicts].filter(([, each]) => each === verdict).map(([seq]) => seq);
    yield* query(`UPDATE ${extras} SET verdict = ? WHERE seq ${words.amongNumbers}`, [
      verdict,
      JSON.stringify(those),
    ]);
  }
}

function text(value: SqlValue | undefined): string | null {
  return typeof value === 'string' ? value : null;
}
