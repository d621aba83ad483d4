import { Injectable } from '@nestjs/common';
import { JobsError } from '../model/errors.js';
import type { Class, JobHandler, JobTypeOptions } from '../model/job-type.js';

const JOB_TYPE = 'nestjs-jobs:type';
/** Where Nest notes that a class is injectable already, with a scope of its own perhaps. */
const INJECTABLE = '__injectable__';

/**
 * Declares a job type: the decorated class runs its jobs. Provide the class in any module, or by
 * `JobsModule.forFeature`; it is injectable, with any scope that `@Injectable` gives it.
 */
export function JobType(options: JobTypeOptions): <T extends Class<JobHandler>>(target: T) => void {
  return (target) => {
    if (typeof options !== 'object' || options === null) {
      // Without options the class would count as no job type at all.
      throw new JobsError(
        'invalid_options',
        `@JobType of ${target.name} has no options: give at least { name }.`,
      );
    }
    Reflect.defineMetadata(JOB_TYPE, options, target);
    if (Reflect.hasOwnMetadata(INJECTABLE, target) !== true) {
      Injectable()(target);
    }
  };
}

/** What a class itself, not one it extends, declares by `@JobType`. */
export function jobTypeOf(target: unknown): JobTypeOptions | undefined {
  return typeof target === 'function'
    ? (Reflect.getOwnMetadata(JOB_TYPE, target) as JobTypeOptions | undefined)
    : undefined;
}
