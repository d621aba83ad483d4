import { Logger } from '@nestjs/common';
import type { EngineLogger } from './engine/engine-options.js';
import { plainLine, plainLines } from './model/text.js';

/** Nest's logger for texts that callers and handlers have a part in: they are shown, and do nothing. */
export class PlainLogger implements EngineLogger {
  readonly #to: Logger;

  constructor(context: string) {
    this.#to = new Logger(context);
  }

  debug(message: string): void {
    this.#to.debug(plainLine(message));
  }

  log(message: string): void {
    this.#to.log(plainLine(message));
  }

  warn(message: string): void {
    this.#to.warn(plainLine(message));
  }

  error(message: string, stack?: string): void {
    this.#to.error(plainLine(message), ...(stack === undefined ? [] : [plainLines(stack)]));
  }
}
