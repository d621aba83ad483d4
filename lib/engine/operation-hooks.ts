import type { JobEntity } from '../entities/job.entity.js';
import { JobsError } from '../model/errors.js';
import type { Job } from '../model/job.js';
import type { JsonValue } from '../model/json.js';
import type { EngineParts } from './engine-parts.js';
import type { RegisteredType } from './handlers.js';
import { instanceFor } from './hooks.js';
import { jobOf } from './job-view.js';
import { checkedPolicy, type PolicyColumns } from './retry-policy-columns.js';

/** What the hooks of an operation are called with. */
export type HookParts = Pick<EngineParts, 'store' | 'handlers'>;

/** @throws JobsError `type_not_here` */
export function typeHere(parts: HookParts, job: JobEntity): RegisteredType {
  const type = parts.handlers.get(job.type);
  if (type === undefined) {
    throw new JobsError(
      'type_not_here',
      `This process has no handler of "${job.type}", whose hooks the operation runs. Call a process that provides its @JobType class, or provide it here.`,
    );
  }
  return type;
}

/** @throws JobsError `type_not_here`, `not_suspendable`, `suspend_failed` */
export async function suspendHook(parts: HookParts, job: JobEntity): Promise<void> {
  const type = typeHere(parts, job);
  if (!type.suspendable) {
    throw new JobsError(
      'not_suspendable',
      `Jobs of type "${job.type}" cannot be suspended. Declare the type with suspendable: true, or cancel the job.`,
    );
  }
  try {
    const handler = await instanceFor(type, 'onJobSuspend', job.id);
    await handler?.onJobSuspend?.(viewFor(parts, job, type));
  } catch (error) {
    throw new JobsError(
      'suspend_failed',
      `Job ${job.id} refused to be suspended: ${messageOf(error)} Nothing was changed.`,
      { cause: error },
    );
  }
}

/** Runs the resume and init hooks, which may set the policy; what they threw, if they did. */
export async function resumeHooks(
  parts: HookParts,
  job: JobEntity,
  type: RegisteredType,
  policy: PolicyColumns,
): Promise<{ readonly thrown: unknown } | undefined> {
  try {
    const view = viewFor(parts, job, type);
    const resuming = await instanceFor(type, 'onJobResume', job.id);
    await resuming?.onJobResume?.(view);
    const starting = await instanceFor(type, 'onJobInit', job.id);
    await starting?.onJobInit?.({
      ...view,
      status: 'initializing',
      setRetryPolicy: (given) => {
        Object.assign(policy, checkedPolicy(given));
      },
    });
    return undefined;
  } catch (error) {
    return { thrown: error };
  }
}

/** The message of something thrown, for a sentence about it. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

function viewFor(parts: HookParts, job: JobEntity, type: RegisteredType): Job {
  return jobOf(job, {
    isPaused: false,
    nowMs: parts.store.estimateNowMs(),
    params: type.params.instantiate(JSON.parse(job.params) as JsonValue),
  });
}
