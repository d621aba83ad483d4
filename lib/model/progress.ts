import { JobsError } from './errors.js';
import { cutText, storableText } from './text.js';

/** What a handler reports: a fraction 0–1, or counts from which the fraction follows. */
export interface JobProgress {
  /** Fraction from 0 to 1; follows from `completed / total` when absent. */
  readonly progress?: number;
  /** Units done so far. */
  readonly completed?: number;
  /** Units in all. */
  readonly total?: number;
  /** A sentence for people, cut at 4,000 bytes. */
  readonly message?: string;
}

/** A progress report, checked: what is `undefined` stays as it was. */
export interface CheckedProgress {
  readonly progress: number | undefined;
  readonly completed: number | undefined;
  readonly total: number | undefined;
  readonly message: string | undefined;
}

const MESSAGE_BYTES = 4000;

/**
 * Checks what a handler emitted or gave to `ctx.progress`; a count that is not given is as known.
 *
 * @throws JobsError `invalid_progress` for anything below 0, above 1, not a number, more completed
 *   than total, or an object that is no {@link JobProgress}; the stored value is kept
 */
export function checkProgress(
  value: unknown,
  message?: unknown,
  known: { readonly completed?: number | undefined; readonly total?: number | undefined } = {},
): CheckedProgress {
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
  checkKeys(value);
  const report: JobProgress = value;
  const completed = count(report.completed, 'completed');
  const total = count(report.total, 'total');
  const done = completed ?? known.completed;
  const all = total ?? known.total;
  const isCount = completed !== undefined || total !== undefined;
  if (isCount && done !== undefined && all !== undefined && done > all) {
    throw invalid(`completed (${done}) is more than total (${all})`);
  }
  const given = report.progress === undefined ? undefined : fraction(report.progress);
  const derived =
    isCount && done !== undefined && all !== undefined && all > 0 ? done / all : undefined;
  return { progress: given ?? derived, completed, total, message: text(report.message ?? message) };
}

const KEYS: readonly string[] = ['progress', 'completed', 'total', 'message'];

/** What else stands in an event about a job: a handler may pass on the progress of another one. */
const KEYS_OF_EVENTS: ReadonlySet<string> = new Set(
  'jobId runId type queue at sequence status from actor'.split(' '),
);

function checkKeys(report: object): void {
  if (Array.isArray(report)) {
    throw invalid('Progress is a list');
  }
  const unknown = Object.keys(report).find(
    (key) => !KEYS.includes(key) && !KEYS_OF_EVENTS.has(key),
  );
  if (unknown !== undefined) {
    throw invalid(`Progress has an unknown key, ${JSON.stringify(cutText(unknown, 64))}`);
  }
  if (!KEYS.some((key) => key in report)) {
    throw invalid(`Progress is an object without any of ${KEYS.join(', ')}`);
  }
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
  if (value === undefined || value === null) {
    return undefined;
  }
  if (typeof value !== 'string') {
    throw invalid(`message is ${describe(value)} and no text`);
  }
  return cutText(storableText(value), MESSAGE_BYTES);
}

function describe(value: unknown): string {
  return typeof value === 'number' ? String(value) : `a ${value === null ? 'null' : typeof value}`;
}

function invalid(what: string): JobsError {
  return new JobsError(
    'invalid_progress',
    `${what}: give a fraction from 0 to 1, or { progress, completed, total, message } with some of these and completed at most total. The stored progress is unchanged.`,
  );
}
