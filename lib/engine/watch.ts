import { Observable } from 'rxjs';
import { notFound } from '../model/errors.js';
import type { JobEvent } from '../model/job.js';
import { isFinal } from '../model/job-status.js';
import type { EngineParts } from './engine-parts.js';
import { statusEvent } from './event-bus.js';

/**
 * What happens to one job: its present state, then each change, without repeats, until it is final.
 * `after` is the sequence the client has already: the present state is told only when it is newer.
 */
export function watchJob(
  parts: EngineParts,
  id: string,
  { tenantId, after }: { readonly tenantId?: string; readonly after?: number },
): Observable<JobEvent> {
  return new Observable<JobEvent>((subscriber) => {
    let last = after ?? -1;
    let progress = -1;
    let message: string | undefined;
    const early: JobEvent[] = [];
    let isReplayed = false;
    const pass = (event: JobEvent): void => {
      if (event.type === 'progress') {
        if (event.sequence < last || (event.progress === progress && event.message === message)) {
          return;
        }
      } else if (event.sequence <= last) {
        return;
      }
      last = Math.max(last, event.sequence);
      progress = event.progress;
      message = event.type === 'progress' ? event.message : message;
      subscriber.next(event);
      if (isFinal(event.status)) {
        subscriber.complete();
      }
    };
    // Heard from before the look, so that nothing falls between the two.
    const unwatch = parts.bus.watch(id, (event) => (isReplayed ? pass(event) : early.push(event)));
    parts.store.jobs.find(id, tenantId).then(
      (found) => {
        if (found === undefined) {
          subscriber.error(notFound('job', id));
          return;
        }
        isReplayed = true;
        // Others that watch it have not heard yet what happened since it was read for them.
        if (parts.bus.standing(id) === undefined) {
          parts.bus.noteStanding(id, found.job);
        }
        if (isFinal(found.job.status) && found.job.sequence <= last) {
          subscriber.complete();
          return;
        }
        pass(statusEvent(found.job));
        early.forEach(pass);
      },
      (error: unknown) => subscriber.error(error),
    );
    const unlisten = parts.store.listenClosely();
    const unheard = parts.bus.onRemoved(id, () => subscriber.complete());
    return () => {
      unwatch();
      unheard();
      unlisten();
    };
  });
}
