import {
  Inject,
  Injectable,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
} from '@nestjs/common';
import type { Engine } from './engine/engine.js';
import { JobsExplorer } from './jobs.explorer.js';
import type { ResolvedOptions } from './jobs.options.js';
import { JOBS_CATALOG, JOBS_ENGINE, JOBS_OPTIONS } from './jobs.tokens.js';
import type { Catalog } from './services/catalog.service.js';

/** Nest's start and shutdown → the engine's. Every hook may be called twice. */
@Injectable()
export class JobsLifecycle
  implements OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown
{
  readonly #engine: Engine;
  readonly #explorer: JobsExplorer;
  readonly #options: ResolvedOptions;
  readonly #catalog: Catalog;
  #isStarted = false;

  constructor(
    @Inject(JOBS_ENGINE) engine: Engine,
    @Inject(JobsExplorer) explorer: JobsExplorer,
    @Inject(JOBS_OPTIONS) options: ResolvedOptions,
    @Inject(JOBS_CATALOG) catalog: Catalog,
  ) {
    this.#engine = engine;
    this.#explorer = explorer;
    this.#options = options;
    this.#catalog = catalog;
  }

  async onApplicationBootstrap(): Promise<void> {
    if (this.#isStarted) {
      return;
    }
    this.#isStarted = true;
    // The hooks of every other module have run: a type that is declared badly fails the boot here.
    await this.#explorer.explore();
    this.#catalog.isClosed = true;
    for (const [name, capacity] of this.#catalog.queues) {
      this.#engine.addQueue(name, capacity);
    }
    if (this.#options.autoStart) {
      await this.#engine.start();
    }
  }

  async onModuleDestroy(): Promise<void> {
    await this.#engine.drain();
  }

  async onApplicationShutdown(): Promise<void> {
    await this.#engine.close();
  }
}
