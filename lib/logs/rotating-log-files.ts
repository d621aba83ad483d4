import { mkdirSync } from 'node:fs';
import { readdir, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { createStream, type RotatingFileStream } from 'rotating-file-stream';
import { LOG_LEVELS, type LogLevel } from '../model/job.js';

/** Where and how much is kept. */
export interface RotatingLogOptions {
  readonly path: string;
  readonly level: LogLevel;
  /** Bytes, or a text such as '1000M'. */
  readonly maxSize: number | string;
  /** Rotated files that are kept. */
  readonly maxFiles: number;
  /** Rotated files older than this are deleted. */
  readonly maxAgeMs: number;
}

/** Above this, lines that wait for the file are left out, until there are few again. */
const MOST_BYTES_WAITING = 32 * 1024 * 1024;
const FEW_BYTES_WAITING = 4 * 1024 * 1024;

interface Line {
  readonly at: Date;
  readonly level: LogLevel;
  readonly jobId: string;
  readonly runId: string;
  readonly type: string;
  readonly message: string;
  /** JSON text. */
  readonly fields: string | null;
}

/** Lines of all jobs of this process as JSON lines in a file that rotates by size. */
export class RotatingLogFiles {
  readonly #options: RotatingLogOptions;
  readonly #stream: RotatingFileStream;
  readonly #folder: string;
  readonly #name: string;
  readonly #onTrouble: (message: string) => void;
  #leftOut = 0;
  #hasToldLeftOut = false;

  /** @throws Error when the folder cannot be made */
  constructor(options: RotatingLogOptions, onTrouble: (message: string) => void) {
    this.#options = options;
    this.#onTrouble = onTrouble;
    this.#folder = path.dirname(path.resolve(options.path));
    this.#name = path.basename(options.path);
    mkdirSync(this.#folder, { recursive: true });
    this.#stream = createStream((time, index) => this.#nameOf(time, index), {
      path: this.#folder,
      size: typeof options.maxSize === 'number' ? `${options.maxSize}B` : options.maxSize,
      maxFiles: options.maxFiles,
    });
    this.#stream.on('error', (error) =>
      onTrouble(`The log file ${options.path} cannot be written: ${error.message}`),
    );
    this.#stream.on('warning', (error) =>
      onTrouble(`The log file ${options.path} could not be rotated: ${error.message}`),
    );
    this.#stream.on('rotated', () => {
      this.#prune().catch((error: unknown) => onTrouble(String(error)));
    });
    this.#prune().catch((error: unknown) => onTrouble(String(error)));
  }

  write(line: Line): void {
    if (LOG_LEVELS.indexOf(line.level) >= LOG_LEVELS.indexOf(this.#options.level)) {
      const isFull =
        this.#stream.writableLength > (this.#leftOut > 0 ? FEW_BYTES_WAITING : MOST_BYTES_WAITING);
      if (isFull) {
        this.#leaveOut();
        return;
      }
      this.#noteGap(line.at);
      this.#stream.write(`${textOf(line)}\n`);
    }
  }

  #leaveOut(): void {
    this.#leftOut += 1;
    if (!this.#hasToldLeftOut) {
      this.#hasToldLeftOut = true;
      this.#onTrouble(
        `The log file ${this.#options.path} is not written as fast as jobs log; lines are left out of it, and it says how many.`,
      );
    }
  }

  #noteGap(at: Date): void {
    if (this.#leftOut > 0) {
      const message = `${this.#leftOut} lines were left out here: more was logged than could be written.`;
      this.#leftOut = 0;
      this.#stream.write(`${JSON.stringify({ at: at.toISOString(), level: 'warn', message })}\n`);
    }
  }

  close(): Promise<void> {
    this.#noteGap(new Date());
    return new Promise((resolve) => this.#stream.end(() => resolve()));
  }

  #nameOf(time: number | Date, index: number | undefined): string {
    if (!(time instanceof Date)) {
      return this.#name;
    }
    const { name, ext } = path.parse(this.#name);
    return `${name}-${time.toISOString().replaceAll(/[:.]/g, '')}-${index ?? 1}${ext}`;
  }

  /** The library keeps a number of files; their age is looked at here. */
  async #prune(): Promise<void> {
    const { name, ext } = path.parse(this.#name);
    const oldest = Date.now() - this.#options.maxAgeMs;
    for (const file of await readdir(this.#folder)) {
      if (file !== this.#name && file.startsWith(`${name}-`) && file.endsWith(ext)) {
        const full = path.join(this.#folder, file);
        const { mtimeMs } = await stat(full);
        if (mtimeMs < oldest) {
          await unlink(full);
        }
      }
    }
  }
}

/** Of these JSON escapes none by itself: C1 controls, what reverses the order of text, line ends of Unicode. */
const RAW_IN_JSON = /[\u007f-\u009f\u2028\u2029]|\p{Bidi_Control}/gu;

/** One line of plain JSON whatever was logged: nothing in it acts on the terminal that shows it. */
function textOf({ at, level, jobId, runId, type, message, fields }: Line): string {
  const line = { at: at.toISOString(), level, job_id: jobId, run_id: runId, type, message };
  const head = JSON.stringify(line);
  const text = fields === null ? head : `${head.slice(0, -1)},"fields":${fields}}`;
  return text.replace(
    RAW_IN_JSON,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
