import type { EnqueuedJob } from './job.js';
import type { EnqueueItem } from './job-type.js';

/** A job of a flow; `dependsOn` names others of it by their keys, or jobs that are there by id. */
export type FlowJob = EnqueueItem;

/** A graph of jobs: one for each key. */
export type JobFlow = Readonly<Record<string, FlowJob>>;

/** The jobs of a flow by their keys, as they were stored. */
export type EnqueuedFlow<F extends JobFlow = JobFlow> = { readonly [K in keyof F]: EnqueuedJob };
