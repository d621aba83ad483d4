import type { JobField } from '../entities/job.entity.js';
import { JobsError } from '../model/errors.js';
import { isUuid } from '../model/id.js';
import type { JobKind } from '../model/job.js';
import { isJobStatus } from '../model/job-status.js';
import { ORDER_FIELDS, type JobQuery, type OrderField } from '../model/query.js';
import type { ResolvedJobQuery } from '../store/store.js';
import { checkSought } from './arguments.js';

const DEEPEST_ROW = 10_000;
const MOST_ROWS = 1000;

const KINDS: readonly JobKind[] = ['generic', 'scheduled', 'periodic'];

const TEXTS: ReadonlySet<string> = new Set([
  'tenantId',
  'cursor',
  'order',
  'group',
  'queue',
  'channel',
  'tag',
  'userId',
  'scheduleId',
  'upstreamJobId',
  'idempotencyKey',
  'q',
]);

const FIELDS: ReadonlySet<string> = new Set([
  ...TEXTS,
  'page',
  'limit',
  'status',
  'type',
  'kind',
  'scheduledAfter',
  'scheduledBefore',
]);

const COLUMNS: Readonly<Record<OrderField, JobField>> = {
  id: 'id',
  scheduled_at: 'scheduledAtMs',
  run_at: 'runAtMs',
  updated_at: 'updatedAtMs',
  started_at: 'startedAtMs',
  finished_at: 'finishedAtMs',
  priority: 'priority',
};

/** A list query, checked, and its order as the wire shows it. */
export interface CheckedQuery {
  readonly query: ResolvedJobQuery;
  readonly order: string;
}

/** @throws JobsError `invalid_request` that names the parameter */
export function resolveQuery(given: JobQuery): CheckedQuery {
  checkFields(given);
  const page = wholeNumber(given.page ?? 1, 'page', Number.MAX_SAFE_INTEGER);
  const limit = wholeNumber(given.limit ?? 50, 'limit', MOST_ROWS);
  if (given.cursor !== undefined && given.page !== undefined) {
    throw bad('cursor', 'must not be given together with page');
  }
  if (given.cursor === undefined && page * limit > DEEPEST_ROW) {
    throw bad(
      'page',
      `and limit reach beyond row ${DEEPEST_ROW}: go on with cursor (the one that came with the page before)`,
    );
  }
  const order = checkedOrder(given.order ?? '-scheduled_at');
  const { tenantId, group, queue, channel, kind, tag, userId, idempotencyKey, q } = given;
  return {
    order: order.text,
    query: {
      page,
      limit,
      order: order.columns,
      after: given.cursor === undefined ? undefined : readCursor(given.cursor, order),
      status: statuses(given.status),
      type: given.type === undefined ? undefined : types(given.type),
      ...defined({
        tenantId,
        group,
        queue,
        channel,
        kind: kind === undefined ? undefined : checkedKind(kind),
        tag,
        userId,
        scheduleId: checkedId(given.scheduleId, 'scheduleId', 'schedule'),
        upstreamJobId: checkedId(given.upstreamJobId, 'upstreamJobId', 'job'),
        idempotencyKey,
        q,
      }),
      ...(given.scheduledAfter === undefined
        ? {}
        : { scheduledAfter: instant(given.scheduledAfter, 'scheduledAfter') }),
      ...(given.scheduledBefore === undefined
        ? {}
        : { scheduledBefore: instant(given.scheduledBefore, 'scheduledBefore') }),
    },
  };
}

/** A cursor behind a row with those values of the order's columns. */
export function cursorOf(values: readonly (string | number)[], text: string): string {
  return Buffer.from(JSON.stringify([text, ...values])).toString('base64url');
}

interface CheckedOrder {
  readonly text: string;
  readonly columns: ResolvedJobQuery['order'];
}

function checkedOrder(text: string): CheckedOrder {
  const columns: { column: JobField; descending: boolean }[] = [];
  for (const part of String(text).split(',')) {
    const descending = part.startsWith('-');
    const field = ORDER_FIELDS.find((each) => each === (descending ? part.slice(1) : part));
    if (field === undefined) {
      throw bad(
        'order',
        `names "${part.slice(0, 64)}": use ${ORDER_FIELDS.join(', ')}, each with "-" in front for descending`,
      );
    }
    if (columns.some((each) => each.column === COLUMNS[field])) {
      throw bad('order', `names ${field} twice`);
    }
    columns.push({ column: COLUMNS[field], descending });
  }
  if (!columns.some((each) => each.column === 'id')) {
    columns.push({ column: 'id', descending: columns[0]?.descending ?? false });
  }
  return { text, columns };
}

function readCursor(cursor: string, order: CheckedOrder): readonly (string | number)[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(cursor, 'base64url').toString('utf8'));
  } catch {
    throw badCursor();
  }
  if (!Array.isArray(parsed) || parsed.length !== order.columns.length + 1) {
    throw badCursor();
  }
  const [text, ...values] = parsed as unknown[];
  if (text !== order.text) {
    throw bad(
      'cursor',
      `belongs to the order "${String(text).slice(0, 100)}": give the same order again`,
    );
  }
  return values.map((value, at) => {
    const isId = order.columns[at]?.column === 'id';
    if (isId ? !isUuid(value) : !Number.isSafeInteger(value)) {
      throw badCursor();
    }
    return value as string | number;
  });
}

function types(given: string | readonly string[]): readonly string[] {
  const ids = [given].flat();
  for (const id of ids) {
    checkSought(id, 'type');
  }
  return ids;
}

function statuses(given: JobQuery['status']): ResolvedJobQuery['status'] {
  if (given === undefined) {
    return undefined;
  }
  const words = [given].flat();
  const unknown = words.find((word) => !isJobStatus(word));
  if (unknown !== undefined) {
    throw bad('status', `has "${String(unknown).slice(0, 64)}", which is no status`);
  }
  return words;
}

/** Texts are compared as they are; anything else would silently match nothing. */
function checkFields(given: JobQuery): void {
  if (typeof given !== 'object' || given === null || Array.isArray(given)) {
    throw bad('query', `must be an object, which may have ${[...FIELDS].join(', ')}`);
  }
  for (const [key, value] of Object.entries(given)) {
    if (!FIELDS.has(key)) {
      throw bad(key, `is unknown: use ${[...FIELDS].join(', ')}`);
    }
    if (TEXTS.has(key) && value !== undefined) {
      checkSought(value, key);
    }
  }
}

function checkedKind(kind: unknown): JobKind {
  const known = KINDS.find((each) => each === kind);
  if (known === undefined) {
    throw bad('kind', `is "${String(kind).slice(0, 64)}": use ${KINDS.join(', ')}`);
  }
  return known;
}

function checkedId(id: string | undefined, field: string, what: string): string | undefined {
  if (id !== undefined && !isUuid(id)) {
    throw bad(field, `must be the id of a ${what}`);
  }
  return id?.toLowerCase();
}

function instant(value: unknown, field: string): Date {
  if (!(value instanceof Date) || Number.isNaN(value.getTime())) {
    throw bad(field, 'must be a valid Date');
  }
  return value;
}

function wholeNumber(value: unknown, field: string, most: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 1 || value > most) {
    throw bad(
      field,
      `must be a whole number from 1${most === Number.MAX_SAFE_INTEGER ? '' : ` to ${most}`}`,
    );
  }
  return value;
}

function defined<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(
    Object.entries(values).filter(([, value]) => value !== undefined),
  ) as Partial<T>;
}

function badCursor(): JobsError {
  return bad(
    'cursor',
    'is not one of ours: take the one that came with the page before, unchanged',
  );
}

function bad(field: string, message: string): JobsError {
  return new JobsError('invalid_request', `${field} ${message}.`, { errors: [{ field, message }] });
}
