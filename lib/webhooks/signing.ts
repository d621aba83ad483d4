import { createHmac, randomBytes } from 'node:crypto';
import { JobsError } from '../model/errors.js';

const PREFIX = 'whsec_';
const LEAST_BYTES = 24;
const MOST_BYTES = 64;
const NEW_BYTES = 32;

/** Headers by which a receiver knows who sent a message and when: Standard Webhooks 1.0. */
export interface SignedHeaders {
  readonly 'webhook-id': string;
  readonly 'webhook-timestamp': string;
  readonly 'webhook-signature': string;
}

/** A new secret: `whsec_` and 32 random bytes in base64. */
export function newSecret(): string {
  return PREFIX + randomBytes(NEW_BYTES).toString('base64');
}

/**
 * A secret that somebody chose.
 *
 * @throws JobsError `invalid_request`, or the code that is given
 */
export function checkedSecret(
  secret: unknown,
  field: string,
  code: 'invalid_request' | 'invalid_options' = 'invalid_request',
): string {
  if (typeof secret !== 'string' || bytesOf(secret) === undefined) {
    const message = `must be "${PREFIX}" and the base64 of ${LEAST_BYTES} to ${MOST_BYTES} random bytes`;
    throw new JobsError(code, `${field} ${message}.`, { errors: [{ field, message }] });
  }
  return secret;
}

/** Signs the bytes of a body, once with each secret: while one is replaced, receivers may know either. */
export function sign(
  { id, timestampSec, body }: { id: string; timestampSec: number; body: string },
  secrets: readonly string[],
): SignedHeaders {
  const signed = `${id}.${timestampSec}.${body}`;
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestampSec),
    'webhook-signature': secrets
      .map((secret) => `v1,${createHmac('sha256', keyOf(secret)).update(signed).digest('base64')}`)
      .join(' '),
  };
}

function keyOf(secret: string): Buffer {
  const bytes = bytesOf(secret);
  if (bytes === undefined) {
    throw new JobsError('internal_error', 'A secret of a webhook endpoint cannot be read.');
  }
  return bytes;
}

function bytesOf(secret: string): Buffer | undefined {
  const encoded = secret.startsWith(PREFIX) ? secret.slice(PREFIX.length) : undefined;
  if (encoded === undefined || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded)) {
    return undefined;
  }
  const bytes = Buffer.from(encoded, 'base64');
  return bytes.length >= LEAST_BYTES && bytes.length <= MOST_BYTES ? bytes : undefined;
}
