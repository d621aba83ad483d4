import { Inject, Injectable, Logger, type OnApplicationBootstrap } from '@nestjs/common';
import { HttpAdapterHost, ModulesContainer } from '@nestjs/core';
import type { ResolvedOptions } from '../jobs.options.js';
import { JOBS_OPTIONS } from '../jobs.tokens.js';
import { BATCH_BYTES } from './batch.js';
import { bodyLimitOf } from './body-limit.js';

/** Says once, at boot, what an application may have overlooked. */
@Injectable()
export class BootNotes implements OnApplicationBootstrap {
  readonly #logger = new Logger('JobsApi');

  constructor(
    @Inject(JOBS_OPTIONS) private readonly options: Pick<ResolvedOptions, 'identify' | 'api'>,
    @Inject(HttpAdapterHost) private readonly adapterHost: HttpAdapterHost,
    @Inject(ModulesContainer) private readonly modules: ModulesContainer,
  ) {}

  onApplicationBootstrap(): void {
    // An application context has no HTTP server, and so none of our routes.
    const adapter: HttpAdapterHost['httpAdapter'] | undefined = this.adapterHost.httpAdapter;
    if (adapter === undefined || adapter === null) {
      return;
    }
    this.#noteOpenDoor();
    // Not awaited: the answer concerns the log alone.
    void bodyLimitOf(adapter).then((limit) => this.#noteBodyLimit(limit));
  }

  #noteOpenDoor(): void {
    const { identify, api } = this.options;
    const guards = api === false ? [] : (api.guards ?? []);
    if (identify === undefined && guards.length === 0 && !this.#hasGlobalGuard()) {
      this.#logger.warn(
        'Neither identify nor api.guards is set: whoever reaches the jobs API is its operator. ' +
          'Set one of them, or api: false to have no API.',
      );
    }
  }

  #hasGlobalGuard(): boolean {
    // Nest numbers such providers, as in "APP_GUARD (UUID: …)".
    return [...this.modules.values()].some((module) =>
      [...module.injectables.keys(), ...module.providers.keys()].some((token) =>
        String(token).startsWith('APP_GUARD'),
      ),
    );
  }

  #noteBodyLimit(limit: number | undefined): void {
    if (limit !== undefined && limit < BATCH_BYTES) {
      this.#logger.warn(
        `The HTTP server takes JSON bodies of at most ${limit} bytes, and the jobs API up to ${BATCH_BYTES}. ` +
          "Larger ones are refused before they get here: raise it with app.useBodyParser('json', { limit: '6mb' }) on Express, or new FastifyAdapter({ bodyLimit: 6291456 }).",
      );
    }
  }
}
