import {
  Inject,
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import { createRequire } from 'node:module';
import path from 'node:path';
import type { Engine } from './engine/engine.js';
import { JobsExplorer } from './jobs.explorer.js';
import type { ResolvedOptions } from './jobs.options.js';
import { JOBS_CATALOG, JOBS_ENGINE, JOBS_OPTIONS } from './jobs.tokens.js';
import type { Catalog } from './services/catalog.service.js';

/** Nest's start and shutdown → the engine's. Every hook may be called twice. */
@Injectable()
export class JobsLifecycle
  implements OnModuleInit, OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown
{
  readonly #logger = new Logger('JobsModule');
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

  onModuleInit(): void {
    // The hooks of every other module have run: a type that is declared badly fails the boot here.
    const trouble = knownTrouble(process.versions.node, installedVersion('better-sqlite3'));
    if (trouble !== undefined) {
      this.#logger.error(trouble);
    }
  }

  async onApplicationBootstrap(): Promise<void> {
    if (this.#isStarted) {
      return;
    }
    this.#isStarted = true;
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

/**
 * better-sqlite3 12 built against the headers of Node 24.19 or later aborts the process when its
 * statements are collected (nodejs/node#65446); version 13 and sqlite3 6 do not.
 */
export function knownTrouble(node: string, betterSqlite3: string | undefined): string | undefined {
  const [major = 0, minor = 0] = node.split('.').map(Number);
  const isAffected = (major === 24 && minor >= 19) || major > 24;
  return isAffected && betterSqlite3?.startsWith('12.') === true
    ? `better-sqlite3 ${betterSqlite3} may abort the process on Node ${node}. Install better-sqlite3 13 with an npm override, "overrides": { "typeorm": { "better-sqlite3": "$better-sqlite3" } }, or run on Node 22 or 20.`
    : undefined;
}

function installedVersion(name: string): string | undefined {
  try {
    const manifest: unknown = createRequire(path.join(process.cwd(), 'index.js'))(
      `${name}/package.json`,
    );
    return typeof manifest === 'object' && manifest !== null && 'version' in manifest
      ? String(manifest.version)
      : undefined;
  } catch {
    return undefined; // Not installed here: then it is not used.
  }
}
