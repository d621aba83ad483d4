import { LOG_LEVELS, type LogLevel } from '../model/job.js';
import type { JobLogger } from '../model/job-type.js';
import type { JsonObject } from '../model/json.js';
import { cutText, storableText } from '../model/text.js';
import type { LogLine, Store } from '../store/store.js';
import type { EngineOptions } from './engine-options.js';
import type { LogBacklog, PendingLines } from './log-backlog.js';

/** A line on its way to the log files. */
export interface LogFileLine {
  readonly at: Date;
  readonly level: LogLevel;
  readonly jobId: string;
  readonly runId: string;
  readonly type: string;
  readonly message: string;
  /** JSON text. */
  readonly fields: string | null;
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
  readonly logs: LogBacklog;
}

/** Whose lines they are. */
export interface LoggedRun {
  readonly seq: number;
  readonly jobId: string;
  readonly runId: string;
  readonly type: string;
}

const WARN = LOG_LEVELS.indexOf('warn');

/** The logger of one run: nothing is written once the run has ended. Lines that do not fit say so; none blocks or fails the handler. */
export class RunLogger implements JobLogger {
  readonly #target: LogTarget;
  readonly #pending: PendingLines;
  readonly #isEnded: () => boolean;
  readonly #least: number;
  #kept = 0;
  #isLimited: boolean;

  constructor(target: LogTarget, run: LoggedRun, isEnded: () => boolean) {
    this.#target = target;
    this.#pending = {
      ...run,
      lines: [],
      held: [],
      leftOut: 0,
      isHeld: false,
      isReported: false,
      waiting: [],
    };
    this.#isEnded = isEnded;
    this.#least = LOG_LEVELS.indexOf(target.options.logs.level);
    this.#isLimited = target.options.limits.logLines === 0;
  }

  /** The run is over. Resolves when what is written from then on comes after its last line. */
  end(): Promise<void> | undefined {
    return this.#target.logs.end(this.#pending, this.#target.store.estimateNowMs());
  }

  /** Waits when more is logged than written; undefined when there is room. */
  room(): Promise<void> | undefined {
    return this.#target.logs.room(this.#pending);
  }

  /** Stores what was logged so far, and keeps back what is logged in a transaction of the handler. */
  hold(): Promise<void> {
    return this.#target.logs.hold(this.#pending);
  }

  /** What was logged since {@link hold}. */
  get held(): readonly LogLine[] {
    return this.#pending.held;
  }

  /** The transaction is over, and that many of the lines were stored in it. */
  release(stored: number): void {
    this.#target.logs.release(this.#pending, stored);
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
    const { options, store, sink } = this.#target;
    const rank = LOG_LEVELS.indexOf(level);
    const isKept = rank >= this.#least && !this.#isLimited;
    if (!isKept && sink === undefined) {
      return;
    }
    const { logLine, logLines } = options.limits;
    const text = lineText(message, logLine);
    const data = fieldsText(fields, logLine);
    const nowMs = store.estimateNowMs();
    if (sink !== undefined) {
      const { jobId, runId, type } = this.#pending;
      const at = new Date(nowMs);
      sink.write({ at, level, jobId, runId, type, message: text, fields: data });
    }
    if (isKept) {
      // The last line that a run may keep says so, whether or not more would come.
      const isLimit = this.#kept + 1 >= logLines;
      const line: LogLine = isLimit
        ? [
            nowMs,
            WARN,
            `The log ends here: a run keeps ${logLines} ${logLines === 1 ? 'line' : 'lines'}.`,
            null,
          ]
        : [nowMs, rank, text, data];
      if (this.#target.logs.add(this.#pending, line)) {
        this.#kept += 1;
        this.#isLimited = isLimit;
      }
    }
  }
}

function lineText(message: unknown, maxBytes: number): string {
  let text: string;
  try {
    text = String(message);
  } catch {
    return 'The message has no text.';
  }
  // Most of an enormous text is never looked at.
  return cutText(
    storableText(text.length > maxBytes ? text.slice(0, maxBytes + 1) : text),
    maxBytes,
  );
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
