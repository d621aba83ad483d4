import { setMaxListeners } from 'node:events';
import { Injectable, type BeforeApplicationShutdown } from '@nestjs/common';

/**
 * Fires when the application is about to close its HTTP server, which then waits for every request
 * that is under way: those that wait for something else to happen must end by themselves.
 */
@Injectable()
export class Closing implements BeforeApplicationShutdown {
  readonly #controller = new AbortController();

  constructor() {
    // Each open stream listens: more than ten are no leak.
    setMaxListeners(0, this.#controller.signal);
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  beforeApplicationShutdown(): void {
    this.#controller.abort();
  }
}
