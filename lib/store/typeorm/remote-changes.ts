import { watch, type FSWatcher } from 'node:fs';
import path from 'node:path';
import type { Session } from '../dialects/session.js';
import { query } from '../dialects/sql.js';

const FLOOR_MS = 500;
const LEAST_INTERVAL_MS = 1;
const LINGER_MS = 5000;

/**
 * Tells when another connection, of this process or another, has committed: `PRAGMA data_version`
 * says so, twice a second. While somebody listens closely, the file system says at once that the
 * write-ahead log grew. That costs nothing while all is quiet, and each write of our own about three
 * microseconds, which is why a process that only enqueues does without.
 */
export class RemoteChanges {
  readonly #session: Session;
  readonly #file: string;
  readonly #listeners = new Set<() => void>();
  readonly #floor: NodeJS.Timeout;
  #watcher: FSWatcher | undefined;
  #closeListeners = 0;
  #version: unknown;
  #lookedAt = 0;
  #timer: NodeJS.Timeout | undefined;
  #linger: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(session: Session, file: string) {
    this.#session = session;
    this.#file = path.resolve(file);
    this.#floor = setInterval(this.#look, FLOOR_MS);
    this.#floor.unref();
  }

  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Watches the file until the given function is called, and a while longer: callers come again. */
  listenClosely(): () => void {
    this.#closeListeners += 1;
    clearTimeout(this.#linger);
    if (this.#watcher === undefined && !this.#closed) {
      this.#watcher = this.#watch();
      // What was written before the watch began shows nowhere else.
      this.#look();
    }
    let isDone = false;
    return () => {
      if (!isDone) {
        isDone = true;
        this.#closeListeners -= 1;
        this.#stopLater();
      }
    };
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#floor);
    clearTimeout(this.#timer);
    this.#stop();
    this.#listeners.clear();
  }

  #stopLater(): void {
    if (this.#closeListeners === 0) {
      clearTimeout(this.#linger);
      this.#linger = setTimeout(() => this.#stop(), LINGER_MS);
      this.#linger.unref();
    }
  }

  #stop(): void {
    clearTimeout(this.#linger);
    this.#watcher?.close();
    this.#watcher = undefined;
  }

  #watch(): FSWatcher | undefined {
    const name = path.basename(this.#file);
    try {
      // The folder is watched because the log file comes and goes.
      const watcher = watch(path.dirname(this.#file), { persistent: false }, (_event, changed) => {
        if (changed === null || changed.startsWith(name)) {
          this.#lookSoon();
        }
      });
      watcher.on('error', () => watcher.close());
      return watcher;
    } catch {
      // No watches left, or a file system without them: the floor poll does.
      return undefined;
    }
  }

  #lookSoon(): void {
    if (this.#timer !== undefined || this.#closed) {
      return;
    }
    // Our own commits come past here too; a pause keeps a busy writer from asking after each.
    const since = performance.now() - this.#lookedAt;
    if (since >= LEAST_INTERVAL_MS) {
      this.#look();
    } else {
      this.#timer = setTimeout(this.#look, LEAST_INTERVAL_MS);
    }
  }

  readonly #look = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#lookedAt = performance.now();
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
