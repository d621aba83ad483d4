import { JobsError } from './errors.js';

/** What a handler reports: a fraction 0–1, or counts from which the fraction follows. */
export interface JobProgress {
  /** Fraction from 0 to 1; follows from `completed / total` when absent. */
  readonly progress?: number;
  /** Units done so far. */
  readonly completed?: number;
  /** Units in all. */
  readonly total?: number;
  /** A sentence for people, at most 1,000 characters are kept. */
  readonly message?: string;
}

/** A progress report, checked: what is `undefined` stays as it was. */
export interface CheckedProgress {
  readonly progress: number | undefined;
  readonly completed: number | undefined;
  readonly total: number | undefined;
  readonly message: string | undefined;
}

const MESSAGE_LENGTH = 1000;

/**
 * Checks what a handler emitted or gave to `ctx.progress`.
 *
 * @throws JobsError `invalid_progress` for anything below 0, above 1, not a number, or more
 *   completed than total; the stored value is kept
 */
export function checkProgress(value: unknown, message?: unknown): CheckedProgress {
  if (typeof value === 'number') {
    return {
      progress: fraction(value),
      completed: undefined,
      total: undefined,
      message: text(message),
    };
  }
  if (typeof value !== 'object' || value === null) {
    throw invalid(`Progress is ${describe(value)}`);
  }
  const report: JobProgress = value;
  const completed = count(report.completed, 'completed');
  const total = count(report.total, 'total');
  if (completed !== undefined && total !== undefined && completed > total) {
    throw invalid(`completed (${completed}) is more than total (${total})`);
  }
  const given = report.progress === undefined ? undefined : fraction(report.progress);
  const derived =
    completed !== undefined && total !== undefined && total > 0 ? completed / total : undefined;
  return { progress: given ?? derived, completed, total, message: text(report.message ?? message) };
}

function fraction(value: unknown): number {
  if (typeof value !== 'number' || Number.isNaN(value) || value < 0 || value > 1) {
    throw invalid(`Progress is ${describe(value)}`);
  }
  return value;
}

function count(value: unknown, what: string): number | undefined {
  if (value === undefined || value === null) {
    return undefined;
  }
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) {
    throw invalid(`${what} is ${describe(value)}`);
  }
  return value;
}

function text(value: unknown): string | undefined {
  return typeof value === 'string' ? value.slice(0, MESSAGE_LENGTH).toWellFormed() : undefined;
}

function describe(value: unknown): string {
  return typeof value === 'number' ? String(value) : `a ${value === null ? 'null' : typeof value}`;
}

function invalid(what: string): JobsError {
  return new JobsError(
    'invalid_progress',
    `${what}: give a fraction from 0 to 1, or { completed, total } with completed at most total. The stored progress is unchanged.`,
  );
}
