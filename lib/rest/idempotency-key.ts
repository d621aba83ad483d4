import { text } from './schemas/schema.js';
import { invalid } from './invalid.js';
import type { CreateJobBody } from './wire/requests.js';

export const IDEMPOTENCY_KEY = {
  ...text(1, 255),
  description: 'the same as `idempotency_key` of the body; both may be given if they are equal',
};

const FIELD = 'Idempotency-Key';

/** The body with the key of the header, if there is one. */
export function withIdempotencyKey(body: CreateJobBody, header: string | undefined): CreateJobBody {
  if (header === undefined) {
    return body;
  }
  const key = textOf(header);
  const { length } = [...key];
  if (length < 1 || length > 255) {
    throw invalid('header', [{ field: FIELD, message: 'must have 1 to 255 characters' }]);
  }
  if (body.idempotency_key !== undefined && body.idempotency_key !== key) {
    const message = 'differs from idempotency_key of the body: give one, or the same';
    throw invalid('header', [{ field: FIELD, message }]);
  }
  return { ...body, idempotency_key: key };
}

/** Node reads headers byte by byte; clients that send other characters at all send UTF-8. */
function textOf(header: string): string {
  const text = Buffer.from(header, 'latin1').toString();
  return text.includes('\ufffd') ? header : text;
}

/** One key cannot name many jobs; ignoring it would let a repeated call make them twice. */
export function refuseIdempotencyKey(header: string | undefined): void {
  if (header !== undefined) {
    const message = 'names one job: give each job of the batch its own idempotency_key';
    throw invalid('header', [{ field: FIELD, message }]);
  }
}
