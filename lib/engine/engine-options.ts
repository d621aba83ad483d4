import type { LogLevel } from '../model/job.js';
import type { FinalStatus } from '../model/job-status.js';

/** The part of the module's options that the engine goes by. */
export interface EngineOptions {
  readonly role: 'both' | 'worker' | 'producer';
  readonly queues: ReadonlyMap<string, number>;
  readonly channels: readonly string[] | '*';
  readonly lease: {
    readonly durationMs: number;
    readonly sweepMs: number;
    readonly maxLost: number;
  };
  readonly grace: { readonly shutdownMs: number; readonly signalMs: number };
  readonly retention: ReadonlyMap<FinalStatus, number>;
  readonly limits: {
    readonly params: number;
    readonly result: number;
    readonly state: number;
    readonly meta: number;
    readonly error: number;
    readonly logLine: number;
    readonly logLines: number;
    readonly depth: number;
  };
  readonly logs: { readonly level: LogLevel };
}

/** Where the engine tells what it does; Nest's `Logger` fits. */
export interface EngineLogger {
  debug(message: string): void;
  log(message: string): void;
  warn(message: string): void;
  error(message: string, stack?: string): void;
}
