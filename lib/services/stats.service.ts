import { Inject, Injectable } from '@nestjs/common';
import type { Engine } from '../engine/engine.js';
import { within } from '../engine/within.js';
import { JOB_STATUSES, type JobStatus } from '../model/job-status.js';
import { JOBS_CATALOG, JOBS_ENGINE } from '../jobs.tokens.js';
import { checkOptions, SCOPE_KEYS } from './arguments.js';
import type { Catalog } from './catalog.service.js';
import type { Scope } from './scope.js';

/** Counts for an overview, each up to 10,000. */
export interface JobsStats {
  readonly byStatus: Readonly<Record<JobStatus, number>>;
  /** Of the newest 50,000 jobs. */
  readonly byType: Readonly<Record<string, number>>;
  /** Of the newest 50,000 jobs. */
  readonly byQueue: Readonly<Record<string, number>>;
  readonly oldestWaitingAt: Date | null;
  readonly completedLastMinute: number;
  /** Workers heard within the last minute. */
  readonly workers: number;
}

/** Whether one thing works, and a sentence on it. */
export interface HealthCheck {
  readonly status: 'up' | 'down';
  readonly message: string;
}

/** Whether the jobs of this process work. */
export interface JobsHealth {
  /** `down`: the database cannot be read or written; `degraded`: a background duty fails or is late. */
  readonly status: 'ok' | 'degraded' | 'down';
  readonly checks: Readonly<Record<string, HealthCheck>>;
}

const CACHE_MS = 1000;
/** A database that does not answer by then is as good as none. */
const ANSWER_MS = 2000;
/** From here on callers that write are refused as well. */
const STUCK_MS = 5000;
const MOST_CACHED = 100;
const MINUTE_MS = 60_000;

interface CachedStats {
  readonly stats: Promise<JobsStats>;
  /** When it was counted; undefined while it is. */
  at: number | undefined;
}

/** Counts and health. */
@Injectable()
export class StatsService {
  readonly #engine: Engine;
  readonly #catalog: Catalog;
  readonly #cache = new Map<string, CachedStats>();

  constructor(@Inject(JOBS_ENGINE) engine: Engine, @Inject(JOBS_CATALOG) catalog: Catalog) {
    this.#engine = engine;
    this.#catalog = catalog;
  }

  /** Counts of a tenant, or of all; at most a second old. */
  async stats(scope: Scope = {}): Promise<JobsStats> {
    checkOptions(scope, SCOPE_KEYS);
    const key = scope.tenantId === undefined ? '' : `t:${scope.tenantId}`;
    const cached = this.#cache.get(key);
    if (cached !== undefined && performance.now() - (cached.at ?? Infinity) < CACHE_MS) {
      return cached.stats;
    }
    if (this.#cache.size >= MOST_CACHED) {
      this.#cache.clear();
    }
    const counting: CachedStats = { stats: this.#count(scope), at: undefined };
    this.#cache.set(key, counting);
    counting.stats.then(
      () => (counting.at = performance.now()),
      () => this.#cache.delete(key),
    );
    return counting.stats;
  }

  /** Whether the database answers, takes writes, and the background duties run. */
  async health(): Promise<JobsHealth> {
    const { failing, store } = this.#engine;
    const database = await this.#database();
    const stuckMs = database.status === 'up' ? store.stuckMs() : 0;
    const writes: HealthCheck =
      stuckMs < STUCK_MS
        ? { status: 'up', message: 'go through' }
        : {
            status: 'down',
            message: `nothing could be written for ${Math.round(stuckMs / 1000)} s: the database is locked, full or read-only`,
          };
    const duties: HealthCheck =
      failing.length === 0
        ? { status: 'up', message: 'all run' }
        : { status: 'down', message: `failing or late, and tried again: ${failing.join(', ')}` };
    const isUsable = database.status === 'up' && writes.status === 'up';
    return {
      status: !isUsable ? 'down' : duties.status === 'up' ? 'ok' : 'degraded',
      checks: database.status === 'up' ? { database, writes, duties } : { database },
    };
  }

  async #database(): Promise<HealthCheck> {
    const answer = this.#engine.open().then(() => this.#engine.store.ping());
    try {
      return (await within(answer, ANSWER_MS))
        ? { status: 'up', message: 'answers' }
        : { status: 'down', message: `does not answer within ${ANSWER_MS / 1000} s` };
    } catch {
      // The reason names files and statements: it is in the log, and no caller's business.
      return { status: 'down', message: 'cannot be reached or read' };
    }
  }

  async #count({ tenantId }: Scope): Promise<JobsStats> {
    await this.#engine.open();
    const { jobs, catalog } = this.#engine.store;
    const types = this.#catalog.handlers.all().map((type) => type.typeId);
    const [counts, oldest, completed, workers] = await Promise.all([
      jobs.counts(tenantId),
      jobs.oldestWaitingAtMs(types, tenantId),
      jobs.completedSince(MINUTE_MS, tenantId),
      catalog.workers({ heardWithinMs: MINUTE_MS }),
    ]);
    const zeros = Object.fromEntries(JOB_STATUSES.map((status) => [status, 0])) as Record<
      JobStatus,
      number
    >;
    return {
      byStatus: { ...zeros, ...counts.byStatus },
      byType: counts.byType,
      byQueue: counts.byQueue,
      oldestWaitingAt: oldest === undefined ? null : new Date(oldest),
      completedLastMinute: completed,
      workers: workers.length,
    };
  }
}
