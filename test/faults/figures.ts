import { notesOf, paramsOf, type Case } from './case.js';
import { caseOf } from './checker.js';
import type { Expectations, History } from './history.js';
import { peakOf } from './limit-rule.js';

/** What there is in a history: one in which too little of it happened proves nothing. */
export const FIGURES = [
  'lost runs',
  /** From the end of its lease to when a run was taken back, while some process was there all the time. */
  'median recovery in ms',
  'longest recovery in ms',
  'lost runs of handlers that block',
  'jobs that timed out',
  'cancels granted',
  'cancels of jobs at work',
  'jobs that depend on others',
  'refusals of unique keys',
  /** Those whose last place was taken at least once. */
  'limits reached',
] as const;
export type Figure = (typeof FIGURES)[number];

const COUNTS: Readonly<Record<Figure, (each: Case) => number>> = {
  'lost runs': ({ spans }) =>
    [...spans.values()].flat().filter(({ outcome }) => outcome === 'lost').length,
  'median recovery in ms': (each) => {
    const all = recoveriesMs(each);
    return all[Math.floor(all.length / 2)] ?? 0;
  },
  'longest recovery in ms': (each) => recoveriesMs(each).at(-1) ?? 0,
  'lost runs of handlers that block': ({ spans, byId }) =>
    [...spans].flatMap(([id, own]) => {
      const job = byId.get(id);
      const blocks = job !== undefined && paramsOf(job).blockMs !== undefined;
      return own.filter(({ outcome, revision }) => blocks && outcome === 'lost' && revision === 1);
    }).length,
  'cancels granted': ({ notes }) =>
    notesOf(notes, 'canceled').filter(({ status }) => status.startsWith('cancel')).length,
  'cancels of jobs at work': ({ notes }) =>
    notesOf(notes, 'canceled').filter(({ status }) => status === 'canceling').length,
  'jobs that depend on others': ({ jobs }) =>
    jobs.filter((job) => (paramsOf(job).parents ?? []).length > 0).length,
  'refusals of unique keys': ({ notes }) =>
    notesOf(notes, 'refused').filter(({ code }) => code === 'duplicate_job').length,
  'limits reached': ({ jobs, holds, expected }) =>
    (expected.limits ?? []).filter((limit) => peakOf(jobs, holds, limit) >= limit.most).length,
  'jobs that timed out': ({ jobs }) => jobs.filter(({ status }) => status === 'timeout').length,
};

/** Shortest first. */
function recoveriesMs({ notes, spans, holds }: Case): readonly number[] {
  const died = new Map(notesOf(notes, 'died').map(({ pid, at }) => [pid, at]));
  const lives = notesOf(notes, 'booted').map(
    ({ pid, at }) => [at, died.get(pid) ?? Infinity] as const,
  );
  const lost = new Set(
    [...spans.values()].flat().flatMap(({ outcome, runId }) => (outcome === 'lost' ? [runId] : [])),
  );
  return [...holds.values()]
    .flat()
    .flatMap(({ runId, lastLease, to }) => {
      const isLost = lost.has(runId) && lastLease !== null && to !== null;
      const isWatched = isLost && lives.some(([from, until]) => from < lastLease && until > to);
      return isWatched ? [Math.round(to - lastLease)] : [];
    })
    .sort((a, b) => a - b);
}

export function figuresOf(
  history: History,
  expected: Expectations,
): Readonly<Record<Figure, number>> {
  const each = caseOf(history, expected);
  return Object.fromEntries(FIGURES.map((figure) => [figure, COUNTS[figure](each)])) as Record<
    Figure,
    number
  >;
}
