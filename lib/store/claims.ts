import type { JobEntity } from '../entities/job.entity.js';
import type { Ceiling } from '../model/limits.js';
import type { ChangeResult } from './changes.js';

/** What one queue of one worker asks for. */
export interface ClaimRequest {
  readonly queue: string;
  readonly types: readonly string[];
  /** The channels served, or all. */
  readonly channels: readonly string[] | '*';
  readonly limit: number;
  readonly workerId: string;
  readonly leaseMs: number;
  /** Whether the handlers are called at once; a job that goes to a buffer starts later. */
  readonly starts: boolean;
  /** Look first, without the write lock: the caller only guesses that there is something. */
  readonly onlyIfReady: boolean;
}

/** What limits the jobs of a type. */
export interface LimitedType {
  readonly ceilings: readonly Ceiling[];
  /** Of each part of a job's key, whether it is the tenant. */
  readonly isTenant: readonly boolean[];
}

/** The same of a queue that limits hold for, or have held for. */
export interface LimitedRequest extends ClaimRequest {
  /** By type; a type that is missing has none. */
  readonly limits: ReadonlyMap<string, LimitedType>;
  /** Where a claim goes on that has only met keys at their limits. */
  readonly goOn?: SearchPoint | undefined;
}

/** How far a round of the keys of a queue has come: where it began, and the key met last. */
export interface SearchPoint {
  readonly from: string | null;
  readonly after: string | null;
  readonly hasWrapped: boolean;
}

/** What such a claim gave. */
export interface LimitedClaim {
  readonly jobs: readonly JobEntity[];
  /** There may be more to take at once. */
  readonly isMore: boolean;
  /** A limit holds jobs back until others end. */
  readonly isHeldBack: boolean;
  /** There were so many keys at their limits that it has stopped; the next one goes on there. */
  readonly goOn: SearchPoint | undefined;
  /** How many keys at their limits it has passed over. */
  readonly passed: number;
  /** In how many milliseconds a rate lets the next one through, where one holds jobs back. */
  readonly nextInMs: number | undefined;
}

/** The hot end of a run: completed, and nothing special about it. */
export interface Completion {
  readonly seq: number;
  readonly runId: string;
  readonly startedAtMs: number;
  /** JSON text, or null to keep what `setResult` stored. */
  readonly result: string | null;
}

/** What became of a completion of a job that others wait for, and what it has led to. */
export interface RelatedCompletion {
  readonly won: boolean;
  readonly news?: Pick<ChangeResult, 'others' | 'freed' | 'isMore'>;
}

/** What a running handler reports; what is undefined stays as it is. */
export interface RunReport {
  readonly seq: number;
  readonly runId: string;
  readonly startedAtMs?: number;
  readonly progress?: number;
  readonly completed?: number;
  readonly total?: number;
  readonly message?: string;
  /** 0 when nothing tells the end any more. */
  readonly etaMs?: number;
  /** JSON text. */
  readonly state?: string;
  /** JSON text. */
  readonly result?: string;
  readonly maxRetries?: number;
  readonly retryDelaySec?: number;
  readonly timeoutSec?: number;
}

/** A queue, and what limits its types. */
export type Limited = Pick<LimitedRequest, 'queue' | 'limits'>;

/** The queues that are paused, and the scopes of limits that anybody has declared. */
export interface Marks {
  readonly paused: ReadonlySet<string>;
  readonly limited: ReadonlySet<string>;
  /** Whether any delivery is on its way. */
  readonly isSending: boolean;
}
