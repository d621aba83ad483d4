import { watch, type FSWatcher } from 'node:fs';
import path from 'node:path';
import type { Session } from '../dialects/session.js';
import { query } from '../dialects/sql.js';

const FLOOR_MS = 500;
const LEAST_INTERVAL_MS = 1;

/**
 * Tells when another connection, of this process or another, has committed. The file system says
 * at once that the write-ahead log grew, at no idle cost; `PRAGMA data_version` says whether it was
 * somebody else. A slow poll covers file systems that tell nothing.
 */
export class RemoteChanges {
  readonly #session: Session;
  readonly #listeners = new Set<() => void>();
  readonly #watcher: FSWatcher | undefined;
  readonly #floor: NodeJS.Timeout;
  #version: unknown;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(session: Session, file: string) {
    this.#session = session;
    this.#watcher = this.#watch(file);
    this.#floor = setInterval(this.#look, FLOOR_MS);
    this.#floor.unref();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#floor);
    clearTimeout(this.#timer);
    this.#watcher?.close();
    this.#listeners.clear();
  }

  #watch(file: string): FSWatcher | undefined {
    const name = path.basename(file);
    try {
      // The folder is watched because the log file comes and goes.
      const watcher = watch(
        path.dirname(path.resolve(file)),
        { persistent: false },
        (_event, changed) => {
          if (changed === null || changed.startsWith(name)) {
            this.#lookSoon();
          }
        },
      );
      watcher.on('error', () => watcher.close());
      return watcher;
    } catch {
      // No watches left, or a file system without them: the floor poll does.
      return undefined;
    }
  }

  #lookSoon(): void {
    if (this.#timer === undefined && !this.#closed) {
      // Our own commits come past here too; a pause keeps a busy writer from asking after each.
      this.#timer = setTimeout(this.#look, LEAST_INTERVAL_MS);
    }
  }

  readonly #look = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#session.run(query('PRAGMA data_version')).then(
      (rows) => {
        const version = rows[0]?.[0];
        if (version !== this.#version) {
          this.#version = version;
          if (!this.#closed) {
            for (const listener of this.#listeners) {
              listener();
            }
          }
        }
      },
      () => undefined, // A database that cannot be read now is met again by the next write.
    );
  };
}
