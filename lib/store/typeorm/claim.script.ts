import type { JobEntity } from '../../entities/job.entity.js';
import { query, type Script } from '../dialects/sql.js';
import type { ClaimRequest } from '../store.js';
import type { TableNames } from './table-names.js';

/** A line of ready jobs: one range of the ready index. */
export type Lane = readonly [type: string, channel: string];

/** How ready jobs are taken. */
export interface Claims {
  claim(request: ClaimRequest, nowMs: number): Script<readonly JobEntity[]>;
  /** Whether there is anything that a claim would find, priorities and pauses aside. */
  hasReady(request: ClaimRequest): Script<boolean>;
}

/** What servers have in common: how ready jobs are found, by type and channel. */
export abstract class ClaimScript implements Claims {
  readonly #t: TableNames;

  constructor(tables: TableNames) {
    this.#t = tables;
  }

  abstract claim(request: ClaimRequest, nowMs: number): Script<readonly JobEntity[]>;

  *hasReady(request: ClaimRequest): Script<boolean> {
    if (request.channels === '*') {
      for (const type of request.types) {
        const rows = yield* query(
          `SELECT 1 FROM ${this.#t.jobs} WHERE ready = 1 AND type = ? LIMIT 1`,
          [type],
        );
        if (rows.length > 0) {
          return true;
        }
      }
      return false;
    }
    for (const lane of yield* this.lanes(request)) {
      const rows = yield* query(
        `SELECT 1 FROM ${this.#t.jobs} WHERE ready = 1 AND type = ? AND channel = ? LIMIT 1`,
        lane,
      );
      if (rows.length > 0) {
        return true;
      }
    }
    return false;
  }

  protected lanes(request: ClaimRequest): Script<readonly Lane[]> {
    return this.lanesOf(request, [1]);
  }

  /** The lanes that a worker serves; of all channels those that have jobs which are ready in such a way. */
  *lanesOf(
    { types, channels }: Pick<ClaimRequest, 'types' | 'channels'>,
    ready: readonly number[],
  ): Script<readonly Lane[]> {
    if (channels !== '*') {
      return types.flatMap((type) => channels.map((channel): Lane => [type, channel]));
    }
    const lanes = new Map<string, Lane>();
    for (const way of ready) {
      for (const lane of yield* this.lanesOfAllChannels(types, way)) {
        lanes.set(lane.join('\n'), lane);
      }
    }
    return [...lanes.values()];
  }

  /** Which channels have ready jobs: one step in the index for each, however many jobs it has. */
  protected abstract lanesOfAllChannels(
    types: readonly string[],
    ready: number,
  ): Script<readonly Lane[]>;
}

/** The order in which jobs are taken. */
export function byClaimOrder(a: JobEntity, b: JobEntity): number {
  return b.priority - a.priority || a.runAtMs - b.runAtMs || a.seq - b.seq;
}
