import { LOG_LEVELS, type LogLevel } from '../model/job.js';
import type { JobLogger } from '../model/job-type.js';
import type { JsonObject } from '../model/json.js';
import { cutText, storableText } from '../model/text.js';
import type { Store } from '../store/store.js';
import type { EngineLogger, EngineOptions } from './engine-options.js';

/** A line on its way to the log files. */
export interface LogFileLine {
  readonly at: Date;
  readonly level: LogLevel;
  readonly jobId: string;
  readonly runId: string;
  readonly type: string;
  readonly message: string;
  readonly fields: JsonObject | null;
}

/** Where lines go besides the database. */
export interface LogSink {
  write(line: LogFileLine): void;
  close(): Promise<void>;
}

/** What the log of a run is made of. */
export interface LogTarget {
  readonly store: Store;
  readonly options: EngineOptions;
  readonly sink: LogSink | undefined;
  readonly logger: EngineLogger;
}

/** Whose lines they are. */
export interface LoggedRun {
  readonly jobId: string;
  readonly runId: string;
  readonly type: string;
}

/** The logger of one run: nothing is written once the run has ended. Lines that do not fit say so; none blocks the handler. */
export class RunLogger implements JobLogger {
  readonly #target: LogTarget;
  readonly #run: LoggedRun;
  readonly #isEnded: () => boolean;
  #lines = 0;

  constructor(target: LogTarget, run: LoggedRun, isEnded: () => boolean) {
    this.#target = target;
    this.#run = run;
    this.#isEnded = isEnded;
  }

  trace(message: string, fields?: JsonObject): void {
    this.#write('trace', message, fields);
  }

  debug(message: string, fields?: JsonObject): void {
    this.#write('debug', message, fields);
  }

  info(message: string, fields?: JsonObject): void {
    this.#write('info', message, fields);
  }

  warn(message: string, fields?: JsonObject): void {
    this.#write('warn', message, fields);
  }

  error(message: string, fields?: JsonObject): void {
    this.#write('error', message, fields);
  }

  #write(level: LogLevel, message: string, fields: JsonObject | undefined): void {
    if (this.#isEnded()) {
      return;
    }
    const { options, store, sink, logger } = this.#target;
    const { limits } = options;
    const line = cutText(storableText(String(message)), limits.logLine);
    const nowMs = store.estimateNowMs();
    sink?.write({
      at: new Date(nowMs),
      level,
      ...this.#run,
      message: line,
      fields: fields ?? null,
    });
    if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(options.logs.level)) {
      return;
    }
    this.#lines += 1;
    if (this.#lines > limits.logLines) {
      return;
    }
    const isLast = this.#lines === limits.logLines;
    store.history
      .log({
        jobId: this.#run.jobId,
        runId: this.#run.runId,
        atMs: nowMs,
        level: LOG_LEVELS.indexOf(isLast ? 'warn' : level),
        message: isLast ? `The log ends here: a run keeps ${limits.logLines} lines.` : line,
        fields: isLast ? null : fieldsText(fields, limits.logLine),
      })
      .catch((error: unknown) => {
        logger.error(`A log line of job ${this.#run.jobId} was lost: ${String(error)}`);
      });
  }
}

function fieldsText(fields: JsonObject | undefined, maxBytes: number): string | null {
  if (fields === undefined) {
    return null;
  }
  let text: string;
  try {
    text = storableText(JSON.stringify(fields) ?? 'null');
  } catch {
    return JSON.stringify({ cut: 'The fields are not JSON.' });
  }
  return Buffer.byteLength(text) <= maxBytes
    ? text
    : JSON.stringify({ cut: cutText(text, maxBytes - 100) });
}
