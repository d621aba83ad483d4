import { EXTRA } from '../model/extras.js';
import { JobsError, notFound } from '../model/errors.js';
import type { JobEntity } from '../entities/job.entity.js';
import { isFinal } from '../model/job-status.js';
import { toJsonText } from '../model/json-text.js';
import type { EngineParts } from './engine-parts.js';
import { checkSignalName } from './steps.js';

/** A signal, and whose job it is for. */
export interface Sending {
  readonly name: string;
  readonly payload: unknown;
  readonly tenantId?: string | undefined;
}

/**
 * Sends a job a signal: it is kept until the job asks for one of that name, and wakes it if it does.
 *
 * @throws JobsError `not_found`, `already_ended`, `invalid_request`, `too_large`
 */
export async function sendSignal(
  parts: EngineParts,
  id: string,
  { name, payload, tenantId }: Sending,
): Promise<JobEntity> {
  checkSignalName(name);
  const { result: bytes, depth } = parts.options.limits;
  const text = toJsonText(payload ?? null, 'payload', { bytes, depth });
  const result = await parts.store.jobs.change(
    id,
    (job) =>
      isFinal(job.status)
        ? undefined
        : {
            set: { extras: (job.extras ?? 0) | EXTRA.steps },
            signal: { name, payload: text },
          },
    tenantId,
  );
  if (result === undefined) {
    throw notFound('job', id);
  }
  if (!result.changed) {
    throw new JobsError(
      'already_ended',
      `Job ${id} has ended as ${result.before.status}, so nobody waits for the signal "${name}".`,
      { members: { status: result.before.status } },
    );
  }
  parts.stored(result);
  return result.after;
}
