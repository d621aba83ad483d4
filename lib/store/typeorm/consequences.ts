import type { JobEntity } from '../../entities/job.entity.js';
import type { Script } from '../dialects/sql.js';
import type { ChangeResult } from '../store.js';
import { Dependencies } from './dependencies.script.js';
import { News, newsOf, type Changed, type ChangeOther } from './news.js';
import { removeBeside } from './purge.script.js';
import { Signals } from './signal.consequences.js';
import { ScheduleEnds } from './schedule-ends.script.js';
import type { TableNames } from './table-names.js';

/**
 * What follows from the change of a job for others, in the same transaction. Each feature has a part
 * of its own; a plain job that nobody waits for has no consequences, and costs nothing.
 */
export class Consequences {
  readonly dependencies: Dependencies;
  readonly #schedules: ScheduleEnds;

  readonly #t: TableNames;
  readonly #signals: Signals;

  constructor(tables: TableNames, change: ChangeOther) {
    this.#t = tables;
    this.#signals = new Signals(tables);
    this.dependencies = new Dependencies(tables, change);
    this.#schedules = new ScheduleEnds(tables);
  }

  /** `given`: the change is itself a consequence of another one, whose news it adds to. */
  *of(changed: Changed, nowMs: number, given?: News): Script<ChangeResult> {
    const { before, after, change } = changed;
    const result = { before, after, changed: true };
    if (before.extras === null && after.extras === null) {
      return result;
    }
    const news = given ?? new News();
    yield* this.#schedules.changed(changed, nowMs);
    if (change.remove === true) {
      yield* removeBeside(this.#t, [before.seq]);
    } else {
      yield* this.#signals.changed(changed, nowMs);
      yield* this.dependencies.changed(changed, news, nowMs);
    }
    if (given !== undefined) {
      return result;
    }
    yield* this.dependencies.tellAll(news, nowMs);
    return newsOf(result, news);
  }

  /** Tells the dependents that one transaction had too many of. */
  *goOn(nowMs: number): Script<Pick<ChangeResult, 'others' | 'freed' | 'isMore'>> {
    const news = new News();
    news.isMore = yield* this.dependencies.goOn(news, nowMs);
    return news;
  }

  /** What has to be right before a job is removed. @throws JobsError `has_dependents`, `job_active` */
  *beforeRemoval(
    job: JobEntity,
    cascades: boolean,
    nowMs: number,
  ): Script<readonly ChangeResult[]> {
    return job.extras === null ? [] : yield* this.dependencies.beforeRemoval(job, cascades, nowMs);
  }
}
