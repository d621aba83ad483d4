import type { Case } from './case.js';
import { caseOf } from './checker.js';
import type { Expectations, History } from './history.js';

/** What there is in a history: one in which too little of it happened proves nothing. */
export const FIGURES = ['lost runs', 'jobs that timed out'] as const;
export type Figure = (typeof FIGURES)[number];

const COUNTS: Readonly<Record<Figure, (each: Case) => number>> = {
  'lost runs': ({ spans }) =>
    [...spans.values()].flat().filter(({ outcome }) => outcome === 'lost').length,
  'jobs that timed out': ({ jobs }) => jobs.filter(({ status }) => status === 'timeout').length,
};

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
