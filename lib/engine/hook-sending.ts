import type { JobEntity } from '../entities/job.entity.js';
import { EXTRA, hasExtra } from '../model/extras.js';
import type { Store } from '../store/store.js';
import { hearersOf, type Hearers } from './draft-extras.js';
import type { EngineLogger } from './engine-options.js';
import { Loop } from './loop.js';
import type { HookSender } from './hook-sender.js';

/** What the engine has to do with those who tell others over the network; nothing where there are none. */
export class HookSending {
  readonly hearers: Hearers;
  /** Sends what is on its way. */
  readonly loops: readonly Loop[];
  readonly #store: Store;
  readonly #hookSender: HookSender | undefined;
  readonly #logger: EngineLogger;

  constructor(
    hookSender: HookSender | undefined,
    store: Store,
    { logger, random }: { readonly logger: EngineLogger; readonly random: () => number },
  ) {
    this.#hookSender = hookSender;
    this.#store = store;
    this.#logger = logger;
    this.hearers = hearersOf(store, hookSender);
    this.loops = hookSender === undefined ? [] : [new Loop(hookSender.duty, logger, random)];
    hookSender?.onMore(this.wake);
  }

  /** There may be something to send. */
  readonly wake = (): void => this.loops.forEach((loop) => loop.wake());

  /** The store is open. */
  async opened(): Promise<void> {
    try {
      await this.#hookSender?.opened();
    } catch (error) {
      this.#logger.warn(
        `The webhook endpoints of the options could not be recorded in the database: ${String(error)}`,
      );
    }
  }

  /** Writes down, for those who want to hear it, that jobs run; whoever changes them next does it else. */
  readonly claimed = (jobs: readonly JobEntity[]): void => {
    const { webhooks } = this.#store;
    const heard = jobs.filter(
      ({ extras, tenantId }) => hasExtra(extras, EXTRA.hook) || webhooks.isHeard(tenantId),
    );
    if (heard.length > 0) {
      webhooks
        .claimed(heard)
        .then(this.wake, (error: unknown) =>
          this.#logger.debug(`That jobs run could not be written down: ${String(error)}`),
        );
    }
  };

  async stop(): Promise<void> {
    await this.#hookSender?.stop();
  }
}
