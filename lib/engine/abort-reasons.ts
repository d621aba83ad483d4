import { JobAbortError, type JobAbortCode } from '../model/signals.js';

/** Which reason stands when two come together: the heavier. */
const WEIGHTS: Readonly<Record<JobAbortCode, number>> = {
  shutdown: 0,
  suspended: 1,
  timeout: 2,
  canceled: 3,
  lease_lost: 4,
};

const MESSAGES: Readonly<Record<JobAbortCode, string>> = {
  canceled: 'The job was canceled.',
  suspended: 'The job is being suspended.',
  timeout: 'The run took longer than its timeout.',
  shutdown: 'The worker is shutting down.',
  lease_lost: 'This run holds its job no more: nothing it writes is accepted.',
};

/** The reason that a handler's signal fires with. */
export function abortReason(code: JobAbortCode): JobAbortError {
  return new JobAbortError(code, MESSAGES[code]);
}

/** Whether a reason replaces the one that stands. */
export function outweighs(code: JobAbortCode, present: JobAbortCode | undefined): boolean {
  return present === undefined || WEIGHTS[code] > WEIGHTS[present];
}
