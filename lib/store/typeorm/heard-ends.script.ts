import { JobEntity } from '../../entities/job.entity.js';
import { EXTRA, hasExtra } from '../../model/extras.js';
import { query, together, type Script } from '../dialects/sql.js';
import type { ChangeResult, Completion } from '../store.js';
import { readBeside } from './beside.script.js';
import { ALL_JOB_COLUMNS, jobOfRow } from './job.columns.js';
import { bySeq, type JobScripts } from './job.scripts.js';
import type { Changed } from './news.js';
import type { TableNames } from './table-names.js';

/**
 * Ends runs of jobs that somebody hears of, as completed, and writes down what is told of it: a few
 * statements for all of them. What became of each; undefined where it is to be decided one by one, since
 * the job stands otherwise by now, or a schedule made it.
 */
export function* completeHeard(
  t: TableNames,
  scripts: JobScripts,
  completions: readonly Completion[],
  nowMs: number,
): Script<readonly (ChangeResult | undefined)[]> {
  const stored = yield* lockedJobs(t, scripts, completions);
  const fitting = completions.filter(({ seq, runId }) => {
    const job = stored.get(seq);
    return (
      job?.runId === runId && job.status === 'running' && !hasExtra(job.extras, EXTRA.schedule)
    );
  });
  if (fitting.length === 0) {
    return completions.map(() => undefined);
  }
  const won = yield* together(scripts.complete(fitting, nowMs, EXTRA.schedule));
  const changed = new Map<string, Changed>();
  for (const [at, completion] of fitting.entries()) {
    const before = stored.get(completion.seq);
    if (won[at] === true && before !== undefined) {
      const set = endOf(before, completion, nowMs);
      const after = Object.assign(new JobEntity(), before, set);
      changed.set(completion.runId, { before, after, change: { set } });
    }
  }
  const results = yield* scripts.consequences.ofCompleted([...changed.values()], nowMs);
  const byRun = new Map([...changed.keys()].map((runId, at) => [runId, results[at]]));
  return completions.map(({ runId }) => byRun.get(runId));
}

/** By row: until the transaction ends they stay as they are. */
function* lockedJobs(
  t: TableNames,
  scripts: JobScripts,
  completions: readonly Completion[],
): Script<ReadonlyMap<number, JobEntity>> {
  const rows = yield* query(
    `SELECT ${ALL_JOB_COLUMNS} FROM ${t.jobs} WHERE seq ${t.words.amongNumbers}
     ORDER BY seq ${scripts.lockOf(completions.length)}`,
    [JSON.stringify(bySeq(completions).map(({ seq }) => seq))],
  );
  const jobs = yield* readBeside(t, rows.map(jobOfRow));
  return new Map(jobs.map((job) => [job.seq, job]));
}

/** What {@link JobScripts.complete} writes. */
function endOf(
  { sequence, startedAtMs, result }: JobEntity,
  completion: Completion,
  nowMs: number,
): Partial<JobEntity> {
  return {
    status: 'completed',
    sequence: sequence + 1,
    finishedAtMs: nowMs,
    updatedAtMs: nowMs,
    leaseUntilMs: null,
    etaMs: null,
    progress: 1,
    error: null,
    startedAtMs: startedAtMs ?? completion.startedAtMs,
    result: completion.result ?? result,
  };
}
