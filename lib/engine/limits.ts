import { isJobsError, JobsError } from '../model/errors.js';
import {
  limitKeyOf,
  limitsOfType,
  queueScope,
  typeScope,
  type LimitBy,
  type LimitedJob,
  type ScopeLimits,
  type TypeLimits,
} from '../model/limits.js';
import { isPlainText } from '../model/text.js';
import type { LimitedType } from '../store/store.js';
import type { HandlerRegistry, RegisteredType } from './handlers.js';

/** Characters of what a key function returns, and of a whole key, at the most. */
const LONGEST_PART = 128;
const LONGEST_KEY = 520;
const CONTROL = /\p{Cc}/u;

/** The limits that this process knows: those of queues and of types, put together. */
export class Limits {
  readonly #handlers: HandlerRegistry;
  readonly #ofQueue: (name: string) => ScopeLimits | undefined;
  readonly #known = new Map<
    RegisteredType,
    { readonly queue: ScopeLimits | undefined; readonly limits: TypeLimits | undefined }
  >();

  constructor(handlers: HandlerRegistry, ofQueue: (name: string) => ScopeLimits | undefined) {
    this.#handlers = handlers;
    this.#ofQueue = ofQueue;
  }

  /** What the jobs of a type are under. */
  of(type: RegisteredType): TypeLimits | undefined {
    const queue = this.#ofQueue(type.queue);
    let known = this.#known.get(type);
    // A queue may be registered anew until bootstrap ends.
    if (known?.queue !== queue || known === undefined) {
      known = { queue, limits: limitsOfType({ name: type.queue, limits: queue }, type) };
      this.#known.set(type, known);
    }
    return known.limits;
  }

  /** The limits of the types of a queue, as the store needs them; empty without any. */
  ofQueue(name: string): ReadonlyMap<string, LimitedType> {
    const limits = new Map<string, LimitedType>();
    for (const type of this.#handlers.all()) {
      const own = type.queue === name ? this.of(type) : undefined;
      if (own !== undefined) {
        limits.set(type.typeId, {
          ceilings: own.ceilings,
          isTenant: own.parts.map((by) => by === 'tenant'),
        });
      }
    }
    return limits;
  }

  /** Every scope that has limits. */
  scopes(): readonly string[] {
    const scopes = new Set<string>();
    for (const type of this.#handlers.all()) {
      for (const { scope } of this.of(type)?.ceilings ?? []) {
        scopes.add(scope);
      }
      // A queue's claims go one after the other by its row, whatever is limited in it.
      if (this.of(type) !== undefined) {
        scopes.add(queueScope(type.queue));
      }
    }
    return [...scopes];
  }

  /** Whether somebody has declared limits for a queue or one of its types. */
  isAmong(scopes: ReadonlySet<string>, name: string): boolean {
    return (
      scopes.has(queueScope(name)) ||
      this.#handlers.idsOf(name).some((typeId) => scopes.has(typeScope(typeId)))
    );
  }

  /**
   * What limits count a job by; null without limits.
   *
   * @throws JobsError `init_failed` when a key function throws or returns no such text
   */
  keyOf(type: RegisteredType, tenantId: string, view: () => LimitedJob): string | null {
    const limits = this.of(type);
    if (limits === undefined) {
      return null;
    }
    let job: LimitedJob | undefined;
    const key = limitKeyOf(
      limits.parts.map((by) => {
        if (by === 'tenant') {
          return tenantId;
        }
        job ??= view();
        return partOf(type.typeId, by, job);
      }),
    );
    if (key.length > LONGEST_KEY && [...key].length > LONGEST_KEY) {
      throw refused(type.typeId, `the keys of its limits are ${key.length} characters together`);
    }
    return key;
  }
}

function partOf(typeId: string, by: Exclude<LimitBy, 'tenant'>, job: LimitedJob): string {
  let part: unknown;
  try {
    part = by(job);
  } catch (error) {
    if (isJobsError(error) && error.code === 'invalid_request') {
      throw error;
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw refused(typeId, `the key function of a limit threw: ${reason.slice(0, 1000)}`, error);
  }
  if (!isPlainText(part, 1, LONGEST_PART) || CONTROL.test(part)) {
    const shown = typeof part === 'string' ? JSON.stringify(part.slice(0, 140)) : String(part);
    throw refused(
      typeId,
      `the key function of a limit returned ${shown}, which is not a text of 1–${LONGEST_PART} characters without control characters`,
    );
  }
  return part;
}

function refused(typeId: string, reason: string, cause?: unknown): JobsError {
  return new JobsError(
    'init_failed',
    `The job type "${typeId}" refused the job: ${reason}. Nothing was stored.`,
    { cause },
  );
}
