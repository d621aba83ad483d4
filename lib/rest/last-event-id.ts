import { integer } from './schemas/schema.js';
import { invalid } from './invalid.js';

export const LAST_EVENT_ID = {
  ...integer(0, Number.MAX_SAFE_INTEGER),
  description: 'the `id` of the last event that was received',
};

/** The sequence that a client says it has; undefined when it says nothing. */
export function lastEventId(header: string | undefined): number | undefined {
  if (header === undefined || header === '') {
    return undefined;
  }
  const sequence = /^\d{1,16}$/.test(header) ? Number(header) : Number.NaN;
  if (!Number.isSafeInteger(sequence)) {
    const message = 'must be the id of an event of this stream';
    throw invalid('header', [{ field: 'Last-Event-ID', message }]);
  }
  return sequence;
}
