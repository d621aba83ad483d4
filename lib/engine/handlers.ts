import type {
  JobHandler,
  OnJobInit,
  OnJobResume,
  OnJobStateUpdate,
  OnJobSuspend,
} from '../model/job-type.js';
import { JobsError } from '../model/errors.js';
import type { ScopeLimits } from '../model/limits.js';
import type { RetryRules } from '../model/outcome.js';
import type { ParamsContract } from '../params/contract.js';
import type { UniqueTerms } from './unique.js';

/** A handler with whatever lifecycle hooks it has. */
export type AnyHandler = JobHandler &
  Partial<OnJobInit & OnJobSuspend & OnJobResume & OnJobStateUpdate>;

/** A job type as the engine knows it: every default resolved, its queue known. */
export interface RegisteredType {
  /** `group:name`. */
  readonly typeId: string;
  readonly group: string;
  readonly name: string;
  readonly queue: string;
  readonly description: string;
  readonly version: number;
  readonly timeoutSec: number;
  readonly maxRetries: number;
  readonly retryDelaySec: number;
  readonly rules: RetryRules;
  readonly suspendable: boolean;
  /** For so long a run may get on with nothing; 0 = no limit. */
  readonly stallAfterMs: number;
  /** What its jobs are unique by; undefined when they are not. */
  readonly unique: UniqueTerms | undefined;
  /** Over the cluster; undefined without any. */
  readonly limits: ScopeLimits | undefined;
  readonly params: ParamsContract;
  /** The class, by which callers may name the type. */
  readonly handlerClass: unknown;
  /** The one instance, unless the handler is made anew for each job. */
  readonly instance: AnyHandler | undefined;
  /** Makes an instance for one job, for request-scoped handlers. */
  resolve(jobId: string): Promise<AnyHandler>;
}

/** The job types of this process, by id and by class. */
export class HandlerRegistry {
  readonly #byId = new Map<string, RegisteredType>();
  readonly #byClass = new Map<unknown, RegisteredType>();

  /** @throws JobsError `invalid_options` for a second type of that id */
  add(type: RegisteredType): void {
    const known = this.#byId.get(type.typeId);
    if (known !== undefined) {
      throw new JobsError(
        'invalid_options',
        `Two handlers declare the job type "${type.typeId}": ${nameOf(known.handlerClass)} and ${nameOf(type.handlerClass)}. Give one of them another name or group, or provide it once.`,
      );
    }
    this.#byId.set(type.typeId, type);
    this.#byClass.set(type.handlerClass, type);
  }

  get(typeId: string): RegisteredType | undefined {
    return this.#byId.get(typeId);
  }

  /** By id or class. */
  find(ref: unknown): RegisteredType | undefined {
    return typeof ref === 'string' ? this.#byId.get(ref) : this.#byClass.get(ref);
  }

  /** @throws JobsError `unknown_type` that lists the known ones */
  named(ref: unknown): RegisteredType {
    const type = this.find(ref);
    if (type !== undefined) {
      return type;
    }
    const known = [...this.#byId.keys()].sort();
    throw new JobsError(
      'unknown_type',
      `There is no job type ${typeof ref === 'string' ? `"${ref.slice(0, 140)}"` : `for the class ${nameOf(ref)}`} in this process. Known types: ${known.length === 0 ? 'none' : known.join(', ')}. Provide its @JobType class here.`,
      { members: { known_types: known } },
    );
  }

  all(): readonly RegisteredType[] {
    return [...this.#byId.values()];
  }

  idsOf(queue: string): readonly string[] {
    return this.all()
      .filter((type) => type.queue === queue)
      .map((type) => type.typeId);
  }
}

function nameOf(handlerClass: unknown): string {
  return typeof handlerClass === 'function' ? handlerClass.name : String(handlerClass);
}
