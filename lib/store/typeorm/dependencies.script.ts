import type { JobEntity } from '../../entities/job.entity.js';
import { isAtRest, stillActive, type WaitingJob } from '../../model/cascade.js';
import { VERDICT } from '../../model/dependencies.js';
import { JobsError } from '../../model/errors.js';
import { EXTRA, hasExtra } from '../../model/extras.js';
import { isFinal, type JobStatus } from '../../model/job-status.js';
import { CHANGES_SQL, query, type Script } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import type { CreatedJob } from '../job-of-draft.js';
import type { ChangeResult } from '../store.js';
import { readBeside } from './beside.script.js';
import { byVerdict, dependenciesOf, endOf, isDone, reasonOf } from './dependency-verdict.js';
import { ALL_JOB_COLUMNS, jobOfRow } from './job.columns.js';
import { News, type Changed, type ChangeOther } from './news.js';
import { READY } from './ready.js';
import { judge, waitAgain } from './retried-parents.script.js';
import type { TableNames } from './table-names.js';

/** Dependents of one job that one step tells: those that run, and those that end with it. */
const FREED_AT_ONCE = 5000;
const PARENTS_AT_ONCE = 500;
const UNTOLD_AT_ONCE = 20;
const ENDED_AT_ONCE = 200;
/** Of the jobs that keep another one from being deleted so many are counted. */
const MOST_COUNTED = 1000;
/** Jobs that one transaction tells of, one by one; the rest is told in the next. */
const MOST_TOLD = 500;

/**
 * Jobs that wait for others. A count in `job_extras` says how many of them are not final yet, and a
 * verdict what follows from those that ended otherwise than completed: whoever ends a job counts
 * down for its dependents in the same transaction, so nobody looks for who may go on, and nobody is
 * forgotten. Each is told once (`told`), and again where it has not started when the job is retried: edges
 * are locked where they are read, since another process may go on with what an earlier end has left.
 */
export class Dependencies {
  readonly #t: TableNames;
  readonly #change: ChangeOther;
  readonly #latest: () => string;

  /** @param latest see `JobScripts.latest` */
  constructor(tables: TableNames, change: ChangeOther, latest: () => string) {
    this.#t = tables;
    this.#change = change;
    this.#latest = latest;
  }

  /** Notes what a change leads to; {@link tellAll} does it. */
  *changed({ before, after }: Changed, news: News, nowMs: number): Script<void> {
    if (before.status === after.status) {
      return;
    }
    if (isFinal(after.status)) {
      if (hasExtra(after.extras, EXTRA.dependents)) {
        news.untold.push(after);
      }
    } else if (before.status === 'resuming' && after.status === 'waiting') {
      // What it waits for has ended while it was suspended.
      const { beside } = after;
      if (beside !== undefined && beside.blockedBy === 0 && beside.verdict > VERDICT.run) {
        yield* this.#end([after], news, nowMs);
      }
    } else if (isFinal(before.status)) {
      yield* this.#retried(after, news, nowMs);
    }
  }

  /** What a job that goes on after its end means for those that wait for it, and for itself. */
  *#retried({ seq, extras, beside }: JobEntity, news: News, nowMs: number): Script<void> {
    if (beside !== undefined && beside.blockedBy > 0 && beside.verdict > VERDICT.run) {
      // It was told of ends that have been undone since.
      yield* judge(this.#t, [beside]);
    }
    if (hasExtra(extras, EXTRA.dependents)) {
      // Whoever goes on telling of that end is waited for, or finds the job as it is now.
      yield* this.#note([seq], news);
      yield* waitAgain(this.#t, seq, nowMs);
    }
  }

  /**
   * Jobs that were stored just now and depend on others: of those that wait for nobody, because all
   * have ended, some end with them. `ended`: jobs that are told of now.
   */
  *begin(
    children: readonly CreatedJob[],
    ended: readonly JobEntity[],
    nowMs: number,
  ): Script<void> {
    const news = new News();
    const open = children.filter(({ draft }) => draft.blocked?.by === 0);
    const doomed = open.filter(({ draft }) => (draft.blocked?.verdict ?? 0) > VERDICT.run);
    if (doomed.length > 0) {
      yield* this.#end(
        doomed.map(({ job }) => job),
        news,
        nowMs,
      );
    }
    news.untold.push(...ended);
    yield* this.tellAll(news, nowMs);
    const changed = new Map(news.others.map((result) => [result.after.id, result]));
    for (const child of children) {
      const result = changed.get(child.id);
      if (result !== undefined || ended.length > 0) {
        child.settle(result?.after ?? (yield* this.#read(child.job)), result);
      }
    }
  }

  /** Tells the dependents of all jobs that have ended, and those of the ones that end with them. */
  *tellAll(news: News, nowMs: number): Script<void> {
    const left: number[] = [];
    while (news.untold.length > 0) {
      const job = news.untold.shift();
      const isTold =
        news.others.length < MOST_TOLD &&
        job !== undefined &&
        (yield* this.#tell(job, news, nowMs));
      if (!isTold && job !== undefined) {
        left.push(job.seq);
      }
    }
    yield* this.#note(left, news);
  }

  /**
   * Writes down whose dependents are told later. A note that is there is written again: whoever goes on
   * with it may be about to delete it, having read the job as it was before, and is waited for.
   */
  *#note(seqs: readonly number[], news: News): Script<void> {
    const { untold, words } = this.#t;
    for (let at = 0; at < seqs.length; at += UNTOLD_AT_ONCE) {
      const those = seqs.slice(at, at + UNTOLD_AT_ONCE).toSorted((a, b) => a - b);
      news.isMore = true;
      yield* query(
        `INSERT INTO ${untold} (seq) VALUES ${those.map(() => '(?)').join(', ')} ${words.replacing('seq', ['seq'])}`,
        those,
      );
    }
  }

  /**
   * Tells the dependents of jobs that one transaction had too many of; whether there are more. What another
   * process goes on with is left to it.
   */
  *goOn(news: News, nowMs: number): Script<boolean> {
    const noted = yield* query(
      `SELECT seq FROM ${this.#t.untold} ORDER BY seq LIMIT ${UNTOLD_AT_ONCE} ${this.#t.words.skipLocked}`,
    );
    const those = JSON.stringify(noted.map(([seq]) => Number(seq)));
    yield* query(`DELETE FROM ${this.#t.untold} WHERE seq ${this.#t.words.amongNumbers}`, [those]);
    const rows = yield* query(
      `SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs} WHERE seq ${this.#t.words.amongNumbers}`,
      [those],
    );
    // One that was deleted has nobody to tell; one that runs again tells when it ends.
    news.untold.push(...rows.map(jobOfRow).filter(({ status }) => isFinal(status)));
    yield* this.tellAll(news, nowMs);
    return news.isMore || noted.length === UNTOLD_AT_ONCE;
  }

  /** Whether there is anything to go on with. */
  *isAnyUntold(): Script<boolean> {
    const rows = yield* query(`SELECT 1 FROM ${this.#t.untold} LIMIT 1`);
    return rows.length > 0;
  }

  /** @throws JobsError `has_dependents`, `job_active` */
  *beforeRemoval(
    job: JobEntity,
    cascades: boolean,
    nowMs: number,
  ): Script<readonly ChangeResult[]> {
    if (!hasExtra(job.extras, EXTRA.dependents)) {
      return [];
    }
    const waiting = yield* this.#waitingFor(job.seq, cascades ? '' : `LIMIT ${MOST_COUNTED}`);
    const [first] = waiting;
    if (first === undefined) {
      return [];
    }
    if (!cascades) {
      const others = waiting.length - 1;
      const more = waiting.length === MOST_COUNTED ? `${others} or more others` : `${others} more`;
      throw new JobsError(
        'has_dependents',
        `Job ${job.id} cannot be deleted: job ${first.id} (${first.type}), which is ${first.status}, depends on it${others > 0 ? `, and ${more}` : ''}. Wait until they have ended, or delete them with it (cascade).`,
        { members: { job_id: first.id } },
      );
    }
    const active = waiting.find(({ status }) => !isAtRest(status));
    if (active !== undefined) {
      throw stillActive(job.id, active);
    }
    const removed: ChangeResult[] = [];
    for (const { id } of waiting) {
      // One that is gone by now was taken along by another of them.
      const result = yield* this.#change(
        id,
        (stored) => {
          // A worker may have taken it since.
          if (!isAtRest(stored.status)) {
            throw stillActive(job.id, stored);
          }
          return { set: {}, remove: true, cascade: true };
        },
        nowMs,
        new News(),
      );
      if (result !== undefined) {
        removed.push(result, ...(result.others ?? []));
      }
    }
    return removed;
  }

  /** The jobs that wait for one, oldest first: what tells them apart, not what they were given. */
  *#waitingFor(seq: number, limit: string): Script<readonly WaitingJob[]> {
    const rows = yield* query(
      `SELECT child.job_id, child.type, child.status FROM ${this.#t.dependencies} AS edge
       JOIN ${this.#t.jobs} AS child ON child.seq = edge.child_seq
       WHERE edge.parent_seq = ? AND child.finished_at_ms IS NULL ORDER BY edge.child_seq ${limit}`,
      [seq],
    );
    return rows.map(([id, type, status]) => ({
      id: String(id),
      type: String(type),
      status: status as JobStatus,
    }));
  }

  /** Tells the dependents of jobs that have completed, of all of them at once. */
  *tellDone(seqs: readonly number[], news: News, nowMs: number): Script<void> {
    const { words, dependencies } = this.#t;
    for (let at = 0; at < seqs.length; at += PARENTS_AT_ONCE) {
      const those = JSON.stringify(seqs.slice(at, at + PARENTS_AT_ONCE));
      const edges = yield* query(
        `SELECT parent_seq, child_seq FROM ${dependencies}
         WHERE parent_seq ${words.amongNumbers} AND told = 0
         ORDER BY parent_seq, child_seq LIMIT ${FREED_AT_ONCE} ${words.forUpdate}`,
        [those],
      );
      const [lastParent = 0, lastChild = 0] = (edges.at(-1) ?? []).map(Number);
      if (edges.length > 0) {
        yield* query(
          `UPDATE ${dependencies} SET told = 1
           WHERE parent_seq ${words.amongNumbers} AND told = 0
             AND (parent_seq < ? OR (parent_seq = ? AND child_seq <= ?))`,
          [those, lastParent, lastParent, lastChild],
        );
        const children = edges.map(([, child]) => Number(child));
        yield* this.#countDown(children, VERDICT.run);
        yield* this.#goOnWith(children, news, nowMs);
      }
      if (edges.length === FREED_AT_ONCE) {
        const left = seqs.slice(at, at + PARENTS_AT_ONCE).filter((seq) => seq >= lastParent);
        yield* this.#note(left, news);
      }
    }
    yield* this.tellAll(news, nowMs);
  }

  /** False when there are more dependents than one step tells. */
  *#tell({ seq, status }: JobEntity, news: News, nowMs: number): Script<boolean> {
    const most = isDone(status) ? FREED_AT_ONCE : ENDED_AT_ONCE;
    const { words, dependencies } = this.#t;
    const edges = yield* query(
      `SELECT child_seq, on_failure FROM ${dependencies}
       WHERE parent_seq = ? AND told = 0 ORDER BY child_seq LIMIT ${most} ${words.forUpdate}`,
      [seq],
    );
    if (edges.length === 0) {
      return true;
    }
    const children = JSON.stringify(edges.map(([child]) => Number(child)));
    yield* query(
      `UPDATE ${dependencies} SET told = 1 WHERE parent_seq = ? AND child_seq ${words.amongNumbers}`,
      [seq, children],
    );
    const groups = byVerdict(status, edges);
    if (groups.size > 1) {
      yield* this.#lockBeside(children);
    }
    for (const [verdict, those] of groups) {
      yield* this.#countDown(those, verdict);
    }
    yield* this.#goOnWith(
      edges.map(([child]) => Number(child)),
      news,
      nowMs,
    );
    return edges.length < most;
  }

  /** What these jobs depend on, by id. */
  *#parentsOf(jobs: readonly JobEntity[]): Script<ReadonlyMap<string, JobEntity>> {
    const { words, jobs: table } = this.#t;
    const ids = new Set(jobs.flatMap((job) => dependenciesOf(job).map(({ id }) => id)));
    const seqs = JSON.stringify([...ids].map((id) => seqOfId(id) ?? -1));
    const read = `SELECT ${ALL_JOB_COLUMNS} FROM ${table}${words.using(undefined)} WHERE seq ${words.amongNumbers}`;
    const rows = [...(yield* query(read, [seqs]))];
    if (this.#latest() !== '') {
      // As they are by now, but for those that somebody changes, who may wait for their dependents.
      rows.push(...(yield* query(`${read} ${words.skipLocked}`, [seqs])));
    }
    return new Map(rows.map(jobOfRow).map((job) => [job.id, job]));
  }

  /** A job as it is stored by now. */
  *#read(job: JobEntity): Script<JobEntity> {
    const rows = yield* query(`SELECT ${ALL_JOB_COLUMNS} FROM ${this.#t.jobs} WHERE seq = ?`, [
      job.seq,
    ]);
    return (yield* readBeside(this.#t, rows.map(jobOfRow)))[0] ?? job;
  }

  /** Jobs that were waited for have ended: one for each time that a dependent is named. */
  *#countDown(children: readonly number[], verdict: number): Script<void> {
    const counts = new Map<number, number>();
    for (const child of children) {
      counts.set(child, (counts.get(child) ?? 0) + 1);
    }
    const byCount = new Map<number, number[]>();
    for (const [child, count] of counts) {
      const those = byCount.get(count);
      if (those === undefined) {
        byCount.set(count, [child]);
      } else {
        those.push(child);
      }
    }
    if (byCount.size > 1) {
      yield* this.#lockBeside(JSON.stringify(children));
    }
    for (const [count, those] of byCount) {
      yield* query(
        `UPDATE ${this.#t.extras} SET blocked_by = blocked_by - ?,
           verdict = CASE WHEN verdict < ? THEN ? ELSE verdict END
         WHERE seq ${this.#t.words.amongNumbers}`,
        [count, verdict, verdict, JSON.stringify(those)],
      );
    }
  }

  /** What is changed in several statements is locked in its order before, as everybody does. */
  *#lockBeside(children: string): Script<void> {
    const { extras, words } = this.#t;
    if (words.forUpdate !== '') {
      yield* query(
        `SELECT seq FROM ${extras} WHERE seq ${words.amongNumbers} ORDER BY seq ${words.forUpdate}`,
        [children],
      );
    }
  }

  /** Those of the jobs that wait for nobody any more go on, or end. */
  *#goOnWith(children: readonly number[], news: News, nowMs: number): Script<void> {
    const { words, jobs, extras } = this.#t;
    const latest = this.#latest();
    const open = yield* query(
      `SELECT seq, verdict FROM ${extras}
       WHERE seq ${words.amongNumbers} AND blocked_by = 0 ${words.latest}`,
      [JSON.stringify(children)],
    );
    const free: number[] = [];
    const doomed: number[] = [];
    for (const [seq, verdict] of open) {
      (Number(verdict) > VERDICT.run ? doomed : free).push(Number(seq));
    }
    yield* this.#free(free, news, nowMs);
    if (doomed.length > 0) {
      const rows = yield* query(
        `SELECT ${ALL_JOB_COLUMNS} FROM ${jobs}${words.using(undefined)}
         WHERE seq ${words.amongNumbers} AND status = 'waiting' ${latest}`,
        [JSON.stringify(doomed)],
      );
      yield* this.#end(yield* readBeside(this.#t, rows.map(jobOfRow), latest), news, nowMs);
    }
  }

  /** Nothing holds these jobs back any more. */
  *#free(seqs: readonly number[], news: News, nowMs: number): Script<void> {
    if (seqs.length === 0) {
      return;
    }
    const { words, jobs, rows } = this.#t;
    const those = JSON.stringify(seqs);
    yield* query(
      `UPDATE ${rows} SET ready = CASE WHEN run_at_ms <= ? THEN ${READY} ELSE 0 END, updated_at_ms = ?
       WHERE seq ${words.amongNumbers} AND ready = -1 AND status = 'waiting'`,
      [nowMs, nowMs, those],
    );
    const [changes] = yield* query(CHANGES_SQL);
    if (Number(changes?.[0]) > 0) {
      const freed = yield* query(
        `SELECT DISTINCT type, queue, CASE WHEN ready > 0 THEN 1 ELSE 0 END FROM ${jobs}
         WHERE seq ${words.amongNumbers} AND status = 'waiting'`,
        [those],
      );
      news.freed.push(
        ...freed.map(([type, queue, isDue]) => ({
          type: String(type),
          queue: String(queue),
          isDue: isDue === 1,
        })),
      );
    }
  }

  /** Jobs that wait in vain: they fail, or are canceled, and say because of which. */
  *#end(jobs: readonly JobEntity[], news: News, nowMs: number): Script<void> {
    const parents = yield* this.#parentsOf(jobs);
    for (const job of jobs) {
      const reason = reasonOf(job, parents);
      const result = yield* this.#change(
        job.id,
        (stored, now) => (stored.status === 'waiting' ? endOf(stored, reason, now) : undefined),
        nowMs,
        news,
      );
      if (result?.changed === true) {
        news.others.push(result);
        // Whoever retries it wants it to run.
        yield* query(`UPDATE ${this.#t.extras} SET verdict = 0 WHERE seq = ?`, [job.seq]);
      }
    }
  }
}
