import { Inject, Injectable } from '@nestjs/common';
import type { Engine } from '../engine/engine.js';
import { JOBS_ENGINE } from '../jobs.tokens.js';

/** A process that takes jobs. */
export interface WorkerInfo {
  /** New at every start of the process. */
  readonly id: string;
  readonly host: string;
  readonly pid: number;
  /** Version of this package there. */
  readonly version: string;
  readonly queues: readonly string[];
  readonly startedAt: Date;
  readonly heartbeatAt: Date;
}

const HEARD_WITHIN_MS = 60_000;

/** The workers of the cluster. */
@Injectable()
export class WorkersService {
  readonly #engine: Engine;

  constructor(@Inject(JOBS_ENGINE) engine: Engine) {
    this.#engine = engine;
  }

  /** Workers heard within the last minute, newest first. */
  async list(): Promise<readonly WorkerInfo[]> {
    await this.#engine.open();
    const workers = await this.#engine.store.catalog.workers(HEARD_WITHIN_MS);
    return workers.map((worker) => ({
      id: worker.id,
      host: worker.host,
      pid: worker.pid,
      version: worker.version,
      queues: JSON.parse(worker.queues) as string[],
      startedAt: new Date(worker.startedAtMs),
      heartbeatAt: new Date(worker.heartbeatAtMs),
    }));
  }
}
