import type { JobEntity } from '../../entities/job.entity.js';
import { EXTRA, hasExtra } from '../../model/extras.js';
import type { Script } from '../dialects/sql.js';
import type { ChangeResult, JobChange } from '../store.js';
import { Dependencies } from './dependencies.script.js';
import { EventScripts } from './event.scripts.js';
import { News, newsOf, type Changed, type ChangeOther } from './news.js';
import { removeBeside } from './purge.script.js';
import { Signals } from './signal.consequences.js';
import { ScheduleEnds } from './schedule-ends.script.js';
import type { TableNames } from './table-names.js';
import { UniqueKeys } from './unique-keys.js';

/**
 * What follows from the change of a job for others, in the same transaction. Each feature has a part
 * of its own; a plain job that nobody waits for has no consequences, and costs nothing.
 */
export class Consequences {
  readonly dependencies: Dependencies;
  readonly #schedules: ScheduleEnds;
  readonly uniques: UniqueKeys;
  readonly events: EventScripts;

  readonly #t: TableNames;
  readonly #signals: Signals;

  /** @param latest see `JobScripts.latest` */
  constructor(tables: TableNames, change: ChangeOther, latest: () => string) {
    this.#t = tables;
    this.#signals = new Signals(tables);
    this.uniques = new UniqueKeys(tables, latest);
    this.events = new EventScripts(tables);
    this.dependencies = new Dependencies(tables, change, latest);
    this.#schedules = new ScheduleEnds(tables);
  }

  /** `given`: the change is itself a consequence of another one, whose news it adds to. */
  *of(changed: Changed, nowMs: number, given?: News): Script<ChangeResult> {
    const { before, after, change } = changed;
    const { note } = change;
    const result = { before, after, changed: true, ...(note === undefined ? {} : { note }) };
    if (change.remove !== true && this.events.concerns(changed)) {
      yield* this.events.changed(changed, nowMs);
    }
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

  /** The same of many jobs that have completed and that no schedule made. */
  *ofCompleted(changed: readonly Changed[], nowMs: number): Script<readonly ChangeResult[]> {
    yield* this.events.completed(changed, nowMs);
    const news = new News();
    const awaited = changed.filter(({ after }) => hasExtra(after.extras, EXTRA.dependents));
    yield* this.dependencies.tellDone(
      awaited.map(({ after }) => after.seq),
      news,
      nowMs,
    );
    return changed.map(({ before, after }, at) => {
      const result = { before, after, changed: true };
      // What they have led to is told once.
      return at === 0 ? newsOf(result, news) : result;
    });
  }

  /** Tells the dependents that one transaction had too many of. */
  *goOn(nowMs: number): Script<Pick<ChangeResult, 'others' | 'freed' | 'isMore'>> {
    const news = new News();
    news.isMore = yield* this.dependencies.goOn(news, nowMs);
    return news;
  }

  /**
   * What has to be right before a job is changed; what was removed with it.
   *
   * @throws JobsError `has_dependents`, `job_active` for one that is removed, `duplicate_job` for one
   *   that is retried
   */
  *before(job: JobEntity, change: JobChange, nowMs: number): Script<readonly ChangeResult[]> {
    if (job.extras !== null && change.remove === true) {
      yield* this.uniques.release(job);
      return yield* this.dependencies.beforeRemoval(job, change.cascade === true, nowMs);
    }
    if (job.extras !== null && change.isRetry === true) {
      yield* this.uniques.retake(job, nowMs);
    }
    return [];
  }
}
