import { Observable } from 'rxjs';
import { notFound } from '../model/errors.js';
import type { JobEvent } from '../model/job.js';
import type { EngineParts } from './engine-parts.js';
import { Telling } from './telling.js';

/** How somebody watches a job. */
export interface WatchOptions {
  readonly tenantId?: string;
  /** The sequence of the last event that the caller has. */
  readonly after?: number;
  /** Asked before each event; a promise holds it back until then. */
  readonly whenReady?: () => Promise<unknown> | undefined;
}

/**
 * What happens to one job: its present state, then each change, without repeats, until it is final.
 * `after` is the sequence the client has already: it is told what came since. Changes of the status may
 * be merged into a later one; what operators did and handlers said never is.
 */
export function watchJob(
  parts: EngineParts,
  id: string,
  { tenantId, after, whenReady }: WatchOptions,
): Observable<JobEvent> {
  return new Observable<JobEvent>((subscriber) => {
    const telling = new Telling(parts.store, subscriber, { after, whenReady });
    // Heard from before the look, so that nothing falls between the two.
    const unwatch = parts.bus.watch(id, telling.hear);
    parts.store.jobs.find(id, tenantId).then(
      (found) => {
        if (found === undefined) {
          subscriber.error(notFound('job', id));
          return;
        }
        // Others that watch it have not heard yet what happened since it was read for them.
        if (parts.bus.standing(id) === undefined) {
          parts.bus.noteStanding(id, found.job);
        }
        telling.begin(found.job);
      },
      (error: unknown) => subscriber.error(error),
    );
    const unlisten = parts.store.listenClosely();
    const unheard = parts.bus.onRemoved(id, telling.end);
    return () => {
      unwatch();
      unheard();
      unlisten();
    };
  });
}
