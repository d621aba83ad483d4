import { JobsError } from '../model/errors.js';
import type { EnqueueManyOutcome } from '../model/enqueue-options.js';
import type { Call } from './call.js';
import { problemOf } from './problem.js';
import { BATCH_JOBS } from './schemas/requests.js';
import { jobToWire } from './wire/job.js';
import type { CreateFlowBody, CreateJobsBody } from './wire/requests.js';

/** The largest batch, in bytes. */
export const BATCH_BYTES = 5 * 1024 * 1024;

/** @throws JobsError `too_large` for more than one call may bring */
export function acceptBatch(call: Call<CreateJobsBody>): CreateJobsBody {
  if (call.body.jobs.length > BATCH_JOBS) {
    throw tooLarge(`${call.body.jobs.length} jobs, and ${BATCH_JOBS} are allowed`);
  }
  if (bytesOf(call) > BATCH_BYTES) {
    throw tooLarge(`more than ${BATCH_BYTES} bytes`);
  }
  return call.body;
}

/**
 * A flow is `{ jobs: { key: job } }`, or the map itself. A map with a single job that is called `jobs`
 * has a type there.
 */
export function flowBody(body: unknown): unknown {
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    return body;
  }
  const { jobs, ...others } = body as { readonly jobs?: unknown };
  const isWrapped =
    typeof jobs === 'object' &&
    jobs !== null &&
    typeof (jobs as { readonly type?: unknown }).type !== 'string' &&
    Object.keys(others).length === 0;
  return isWrapped ? body : { jobs: body };
}

/** @throws JobsError `too_large` for more than one call may bring */
export function acceptFlow(call: Call<CreateFlowBody>): CreateFlowBody['jobs'] {
  const count = Object.keys(call.body.jobs).length;
  if (count > BATCH_JOBS) {
    throw tooLarge(`${count} jobs, and ${BATCH_JOBS} are allowed`);
  }
  if (bytesOf(call) > BATCH_BYTES) {
    throw tooLarge(`more than ${BATCH_BYTES} bytes`);
  }
  return call.body.jobs;
}

function tooLarge(what: string): JobsError {
  return new JobsError(
    'too_large',
    `The batch has ${what}. Send it in several calls; nothing was stored.`,
  );
}

/** What the client said, unless it sent the body compressed or in chunks. */
function bytesOf(call: Call): number {
  const length = call.header('content-length');
  return length !== undefined && call.header('content-encoding') === undefined
    ? Number(length)
    : writtenBytes(call.body);
}

function writtenBytes(body: unknown): number {
  try {
    return Buffer.byteLength(JSON.stringify(body));
  } catch {
    // Nested too deeply to be written. The service says so, and at which path.
    return 0;
  }
}

/** What became of one job of a batch. */
export function outcomeToWire(each: EnqueueManyOutcome): object {
  return {
    outcome: each.outcome,
    ...(each.job === undefined ? {} : { job: jobToWire(each.job) }),
    ...(each.error === undefined ? {} : { error: problemOf(each.error).problem }),
  };
}
