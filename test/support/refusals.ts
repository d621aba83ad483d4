import { isJobsError, type JobsError } from '../../lib/index.js';

/** The error that the promise rejects with, which must be one of ours. */
export async function refusal(promise: Promise<unknown>): Promise<JobsError> {
  let value: unknown;
  try {
    value = await promise;
  } catch (error) {
    if (isJobsError(error)) {
      return error;
    }
    throw new Error(`It was refused by something that is no JobsError: ${String(error)}`, {
      cause: error,
    });
  }
  throw new Error(`It was not refused: ${JSON.stringify(value)}`);
}

/** `'ok'`, or the code of the error of ours that it rejects with. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'ok';
  } catch (error) {
    if (isJobsError(error)) {
      return error.code;
    }
    throw error;
  }
}

/** The error that the call throws, which must be one of ours. */
export function thrownBy(call: () => unknown): JobsError {
  try {
    call();
  } catch (error) {
    if (isJobsError(error)) {
      return error;
    }
    throw error;
  }
  throw new Error('It was not refused.');
}
