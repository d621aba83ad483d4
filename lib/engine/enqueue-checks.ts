import { durationMs } from '../model/duration.js';
import type { EnqueueOptions } from '../model/enqueue-options.js';
import { JobsError } from '../model/errors.js';
import { NIL_TENANT } from '../model/tenant.js';
import { isPlainText, LONGEST_CHANNEL } from '../model/text.js';

/** @throws JobsError `invalid_request` for both a date and a delay */
export function checkedStart(options: Omit<EnqueueOptions<unknown>, 'manager'>): {
  runAtMs: number | undefined;
  delayMs: number;
} {
  if (options.runAt !== undefined && options.delay !== undefined) {
    throw badField('delay', 'must not be given together with runAt: give one of them');
  }
  return {
    runAtMs: options.runAt === undefined ? undefined : checkedInstant(options.runAt, 'runAt'),
    delayMs: options.delay === undefined ? 0 : durationMs(options.delay, 'delay'),
  };
}

/** @throws JobsError `invalid_request` for anything but a Date that a database can keep */
export function checkedInstant(value: unknown, field: string): number {
  const ms = value instanceof Date ? value.getTime() : Number.NaN;
  if (!(Math.abs(ms) <= 8.64e15)) {
    throw badField(field, 'must be a valid Date');
  }
  return Math.trunc(ms);
}

/** @throws JobsError `invalid_request`; null when there are none */
export function checkedTags(tags: unknown): string | null {
  if (tags === undefined) {
    return null;
  }
  if (!Array.isArray(tags) || tags.length > 20) {
    throw badField('tags', 'must be an array of at most 20 texts');
  }
  for (const [index, tag] of tags.entries()) {
    if (!isPlainText(tag, 1, 64)) {
      throw badField(`tags.${index}`, 'must be a text of 1 to 64 characters');
    }
  }
  return tags.length === 0 ? null : JSON.stringify(tags);
}

/** @throws JobsError `invalid_request` */
export function checkedKey(key: unknown): string {
  if (!isPlainText(key, 1, 255)) {
    throw badField('idempotencyKey', 'must be a text of 1 to 255 characters');
  }
  return key;
}

/** @throws JobsError `invalid_request`; the nil UUID when absent */
export function checkedTenant(tenantId: unknown): string {
  if (tenantId === undefined) {
    return NIL_TENANT;
  }
  if (!isPlainText(tenantId, 1, 64)) {
    throw badField('tenantId', 'must be a text of 1 to 64 characters');
  }
  return tenantId;
}

/** @throws JobsError `invalid_request`; null when absent */
export function checkedUser(userId: unknown): string | null {
  if (userId === undefined || userId === null) {
    return null;
  }
  if (!isPlainText(userId, 1, 64)) {
    throw badField('userId', 'must be a text of 1 to 64 characters');
  }
  return userId;
}

/** @throws JobsError `invalid_request`; `''` when absent */
export function checkedChannel(channel: unknown): string {
  if (channel === undefined) {
    return '';
  }
  if (!isPlainText(channel, 0, LONGEST_CHANNEL)) {
    throw badField('channel', `must be a text of at most ${LONGEST_CHANNEL} characters`);
  }
  return channel;
}

/** What an option should have been. */
export function badField(field: string, message: string): JobsError {
  return new JobsError('invalid_request', `${field} ${message}.`, { errors: [{ field, message }] });
}
