import type { JobEntity } from '../../entities/job.entity.js';
import type { Script } from '../dialects/sql.js';
import type { ChangeResult, Decide, Freed, JobChange } from '../store.js';

/** A job that was changed, or removed, in this transaction. */
export interface Changed {
  readonly before: JobEntity;
  readonly after: JobEntity;
  readonly change: JobChange;
}

/** Changes a job as a consequence: what follows from that is added to the same news. */
export type ChangeOther = (
  id: string,
  decide: Decide,
  nowMs: number,
  news: News,
) => Script<ChangeResult | undefined>;

/** What a change has led to in other jobs so far. */
export class News {
  readonly others: ChangeResult[] = [];
  readonly freed: Freed[] = [];
  /** Jobs that have ended and whose dependents are to be told. */
  readonly untold: JobEntity[] = [];
  isMore = false;
}

/** A result with what else has happened, where anything has. */
export function newsOf(result: ChangeResult, { others, freed, isMore }: News): ChangeResult {
  return {
    ...result,
    ...(others.length === 0 ? {} : { others }),
    ...(freed.length === 0 ? {} : { freed }),
    ...(isMore ? { isMore } : {}),
  };
}
