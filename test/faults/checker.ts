import { FINAL, groupBy, keyOf, notesOf, pairs, paramsOf, type Case } from './case.js';
import {
  checkHandlersHold,
  checkLease,
  checkOverlaps,
  checkStatuses,
  ROUNDING_MS,
} from './hold-rules.js';
import type { Expectations, History, JobRow, Rule, Violation } from './history.js';
import { checkLimits } from './limit-rule.js';
import { checkDependencies, checkUniqueKeys } from './relation-rules.js';
import { holdsOf, spansOf } from './run-spans.js';

type Check = (each: Case) => Iterable<string>;

const CHECKS: Readonly<Record<Rule, Check>> = {
  'acknowledged jobs are there and ended': checkAcknowledged,
  'nobody is refused': checkRefusals,
  'nothing is stored twice': checkStoredOnce,
  'a key names one job': checkKeys,
  'runs are counted without gaps': checkCounts,
  'runs do not overlap': checkOverlaps,
  'statuses change as they may': checkStatuses,
  'a lease is kept': checkLease,
  'a handler runs while its run holds the job': checkHandlersHold,
  'handlers overlap only after a lost lease': checkHandlers,
  'one outcome a run': checkOutcomes,
  'an outcome is the run’s own': checkOwnOutcome,
  'a job ends as its handler does': checkEnds,
  'a cancel that was granted holds': checkCancels,
  'times are the database’s': checkTimes,
  'limits hold': ({ jobs, holds, expected }) => checkLimits(jobs, holds, expected.limits ?? []),
  'a unique key has one job at a time': checkUniqueKeys,
  'a job waits for those it depends on': checkDependencies,
};

/** Judges a cluster that has come to rest; empty when all is as promised. */
export function violationsOf(history: History, expected: Expectations): readonly Violation[] {
  const each = caseOf(history, expected);
  return Object.entries(CHECKS).flatMap(([rule, check]) =>
    [...check(each)].map((text) => ({ rule: rule as Rule, text })),
  );
}

/** What rules and figures are read from. */
export function caseOf(history: History, expected: Expectations): Case {
  return {
    ...history,
    expected,
    byId: new Map(history.jobs.map((job) => [job.job_id, job])),
    spans: spansOf(history),
    holds: holdsOf(history.changes),
  };
}

function* checkAcknowledged({ notes, byId }: Case): Iterable<string> {
  for (const { id, token } of notesOf(notes, 'acked')) {
    const job = byId.get(id);
    if (job === undefined) {
      yield `job ${id} (${token}) was acknowledged and is not there`;
    } else if (!FINAL.includes(job.status)) {
      yield `job ${id} (${token}) was acknowledged and is still ${job.status}`;
    }
  }
}

function* checkRefusals({ notes, expected }: Case): Iterable<string> {
  for (const { token, code } of expected.refusesNothing === true ? notesOf(notes, 'refused') : []) {
    yield `${token} was refused: ${code}`;
  }
}

/** An enqueue whose answer was lost may have stored its job or not, but never two. */
function* checkStoredOnce({ jobs, notes }: Case): Iterable<string> {
  const byToken = groupBy(jobs, (job) => tokenOf(job));
  for (const [token, same] of byToken) {
    if (same.length > 1) {
      yield `${token} was enqueued once and is stored as ${same.map((job) => job.job_id).join(', ')}`;
    }
  }
  const asked = new Set(notesOf(notes, 'asked').map(({ token }) => token));
  for (const token of byToken.keys()) {
    if (!asked.has(token)) {
      yield `${token} is stored, and nobody asked for it`;
    }
  }
}

function* checkKeys({ jobs, notes, byId }: Case): Iterable<string> {
  const keyed = jobs.filter((job) => job.idempotency_key !== null);
  for (const [key, same] of groupBy(keyed, (job) => `${job.tenant_id} ${job.idempotency_key}`)) {
    if (same.length > 1) {
      yield `key ${key} is held by ${same.map((job) => job.job_id).join(', ')}`;
    }
  }
  for (const { id, token, keyed: hasKey } of notesOf(notes, 'acked')) {
    const job = byId.get(id);
    if (job !== undefined && tokenOf(job) !== token) {
      yield `${token} was acknowledged as ${id}, which is ${tokenOf(job)}`;
    }
    if (job !== undefined && hasKey !== (job.idempotency_key !== null)) {
      yield `${token} was enqueued ${hasKey ? 'with' : 'without'} a key, and is stored otherwise`;
    }
  }
}

function* checkCounts({ jobs, spans, holds }: Case): Iterable<string> {
  for (const job of jobs) {
    const own = spans.get(job.job_id) ?? [];
    const held = (holds.get(job.job_id) ?? []).filter(({ isUndone }) => !isUndone);
    const revisions = own.map((span) => span.revision);
    if (namesOf(own) !== namesOf(held)) {
      yield `job ${job.job_id} was held by ${namesOf(held) || 'none'}, and its history says ${namesOf(own) || 'none'}`;
    }
    if (revisions.some((revision, at) => revision !== at + 1) || job.revision !== own.length) {
      yield `job ${job.job_id} counts ${job.revision} runs and has ${revisions.join(', ') || 'none'}`;
    }
    const lost = own.filter((span) => span.outcome === 'lost').length;
    if (job.lost !== lost) {
      yield `job ${job.job_id} says that it was lost ${job.lost} times; of its runs ${lost} were`;
    }
    if (job.retries > job.max_retries) {
      yield `job ${job.job_id} was retried ${job.retries} times, and may be ${job.max_retries} times`;
    }
    const failed = own.filter(
      ({ outcome, isArchived }) => isArchived && ['failed', 'timeout'].includes(outcome),
    );
    if (job.retries !== failed.length) {
      yield `job ${job.job_id} counts ${job.retries} retries after ${failed.length} failures`;
    }
  }
}

function namesOf(runs: readonly { readonly revision: number; readonly runId: string }[]): string {
  return runs.map(({ revision, runId }) => `${revision} ${runId}`).join(', ');
}

/**
 * What the handlers did, by the machine's clock: they know of no lease, and only a lost one explains two at
 * once. One that is to misbehave may linger for ever when its run has ended.
 */
function* checkHandlers({ notes, spans, byId }: Case): Iterable<string> {
  const died = new Map(notesOf(notes, 'died').map(({ pid, at }) => [pid, at]));
  const ends = new Map(notesOf(notes, 'end').map((note) => [keyOf(note), note.at]));
  for (const [id, starts] of groupBy(notesOf(notes, 'start'), ({ job }) => job)) {
    const own = spans.get(id) ?? [];
    const calls = starts
      .map((start) => ({
        attempt: start.attempt,
        from: start.at,
        to: ends.get(keyOf(start)) ?? died.get(start.pid) ?? start.at,
      }))
      .sort((a, b) => a.from - b.from);
    if (new Set(calls.map(({ attempt }) => attempt)).size < calls.length) {
      yield `a run of ${id} was begun twice: ${calls.map(({ attempt }) => attempt).join(', ')}`;
    }
    const job = byId.get(id);
    const lingers = job !== undefined && paramsOf(job).how !== undefined;
    for (const [before, after] of lingers ? [] : pairs(calls)) {
      const outcome = own.find((span) => span.revision === before.attempt)?.outcome;
      if (after.from < before.to && outcome !== 'lost') {
        yield `the handler of ${id} began run ${after.attempt} while run ${before.attempt} (${outcome ?? 'unknown'}) was at work`;
      }
    }
    if (calls.some(({ attempt }) => !own.some((span) => span.revision === attempt))) {
      yield `a handler of ${id} was called for a run that is not in its history`;
    }
  }
}

/** At most one process was told that its outcome of a run counts, and of an ended job only one. */
function* checkOutcomes({ notes, jobs, byId }: Case): Iterable<string> {
  const stored = notesOf(notes, 'stored').filter(({ status }) => status !== 'running');
  const ends = stored.filter(({ status }) => FINAL.includes(status));
  for (const [id, same] of groupBy(ends, ({ job }) => job)) {
    if (same.length > 1) {
      yield `job ${id} ended ${same.length} times: ${same.map(({ status, pid }) => `${status} by ${pid}`).join(', ')}`;
    }
    const job = byId.get(id);
    if (job !== undefined && same.some(({ status }) => status !== job.status)) {
      yield `job ${id} is ${job.status}, and was stored as ${same.map(({ status }) => status).join(', ')}`;
    }
  }
  for (const job of jobs) {
    const isAtRest = job.lease_until_ms === null;
    if (FINAL.includes(job.status) && (!isAtRest || job.finished_at_ms === null)) {
      yield `job ${job.job_id} is ${job.status}, and has ${isAtRest ? 'no end' : 'a lease'}`;
    }
  }
}

/** A handler returns the number of its run: whose result a job has shows who completed it. */
function* checkOwnOutcome({ jobs, notes, spans }: Case): Iterable<string> {
  const starts = new Set(notesOf(notes, 'start').map(keyOf));
  const ends = new Set(notesOf(notes, 'end').map(keyOf));
  for (const job of jobs.filter(({ status }) => status === 'completed')) {
    const last = spans.get(job.job_id)?.at(-1);
    const run = { job: job.job_id, attempt: job.revision };
    if (last?.outcome !== 'completed') {
      yield `job ${job.job_id} is completed, and its last run ${last?.outcome ?? 'is missing'}`;
    }
    if (job.result !== String(job.revision)) {
      yield `job ${job.job_id} was completed by run ${job.revision} with the result of run ${job.result}`;
    }
    if (!starts.has(keyOf(run)) || !ends.has(keyOf(run))) {
      yield `job ${job.job_id} was completed by run ${job.revision}, whose handler did not get to its end`;
    }
    const completed = (spans.get(job.job_id) ?? []).filter(
      ({ outcome }) => outcome === 'completed',
    );
    if (completed.length > 1) {
      yield `job ${job.job_id} has ${completed.length} completed runs`;
    }
  }
}

/**
 * Where the params say so; a cancel may have been quicker. What misbehaves takes its time, so that it may
 * be at work beside those that end the process once too often; what does as it should must end well all the same.
 */
function* checkEnds({ jobs, expected }: Case): Iterable<string> {
  for (const job of jobs) {
    const { ends, how } = paramsOf(job);
    const isLost = how !== undefined && job.status === 'failed' && job.lost > expected.maxLost;
    if (ends !== undefined && ![ends, 'canceled'].includes(job.status) && !isLost) {
      yield `job ${job.job_id} is ${job.status}, and was to be ${ends}`;
    }
  }
}

function* checkCancels({ notes, byId }: Case): Iterable<string> {
  for (const { job: id, status } of notesOf(notes, 'canceled')) {
    const job = byId.get(id);
    if (job !== undefined && status.startsWith('cancel') && job.status !== 'canceled') {
      yield `job ${id} was ${status} when it was asked for, and is ${job.status}`;
    }
  }
}

/**
 * A process reckons with the time that its last message from the database brought along, and what it
 * stores by that is older when it gets there: at most by so much, on a machine that is as busy as this.
 * It is never ahead, but for what is rounded.
 */
const LATE_MS = 15_000;

function* checkTimes({ jobs, spans, holds, expected: { fromMs, toMs } }: Case): Iterable<string> {
  const isWrong = (stored: number | null, at: number | null | undefined): boolean =>
    stored !== null && (stored > (at ?? 0) + ROUNDING_MS || stored < (at ?? Infinity) - LATE_MS);
  for (const job of jobs) {
    if (job.scheduled_at_ms < fromMs - ROUNDING_MS || job.scheduled_at_ms > toMs + ROUNDING_MS) {
      yield `job ${job.job_id}: enqueued at ${timeText(job.scheduled_at_ms)}, which was not while this ran`;
    }
    const held = new Map(holds.get(job.job_id)?.map((hold) => [hold.runId, hold]));
    for (const { runId, revision, claimedAt, endedAt } of spans.get(job.job_id) ?? []) {
      const { from, to } = held.get(runId) ?? {};
      if (isWrong(claimedAt, from)) {
        yield `job ${job.job_id}: run ${revision} says it was claimed at ${timeText(claimedAt)}, and was at ${timeText(from)}`;
      }
      if (isWrong(endedAt, to)) {
        yield `job ${job.job_id}: run ${revision} says it ended at ${timeText(endedAt)}, and did at ${timeText(to)}`;
      }
    }
  }
}

function timeText(at: number | null | undefined): string {
  return at === null || at === undefined ? 'no time' : new Date(at).toISOString();
}

function tokenOf(job: JobRow): string {
  return paramsOf(job).token ?? '(no token)';
}
