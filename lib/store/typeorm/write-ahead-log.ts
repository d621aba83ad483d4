import { statSync } from 'node:fs';
import path from 'node:path';
import type { SqliteSession } from '../dialects/sqlite/sqlite-session.js';
import { query } from '../dialects/sql.js';

/**
 * After so many bytes of the write-ahead log SQLite copies it back by itself. At its default of 4 MB the
 * copying and its syncs are a quarter of the cost of single enqueues; at 40 MB nothing more is
 * gained, and one copying holds the event loop for 100 ms.
 */
const CHECKPOINT_BYTES = 16 * 1024 ** 2;
/** More than it becomes while nobody is in the way. */
const LARGE_BYTES = 20 * 1024 ** 2;
/** Somebody should know of that, where it stays so large for a while. */
const WORRYING_BYTES = 128 * 1024 ** 2;
const WORRY_AFTER_MS = 3000;

const FLOOR_MS = 500;
/** Between looks while the log is large, and at most while only others write to it. */
const LOOK_MS = { least: 10, most: 50 };
/** The same between tries that keep others from writing. */
const TRY_MS = { least: 10, most: 5000 };
/** So long one of those waits for others; it is made when so few pages are left to copy. */
const PATIENCE_MS = 10;
const LAST_PAGES = 500;

/** How far one has come with a log that has become large. */
interface Struggle {
  readonly since: number;
  /** Pages in the log, and how many of them are copied, when that was seen last. */
  pages: number;
  copied: number;
  lookMs: number;
  tryMs: number;
  tryAt: number;
}

/** Has each commit of the connection copy the log where it has reached its usual length. */
export async function checkpointByItself(session: SqliteSession): Promise<void> {
  const [row = []] = await session.run(query('PRAGMA page_size'));
  const pages = Math.round(CHECKPOINT_BYTES / Number(row[0]));
  await session.set('wal_autocheckpoint', pages);
}

/**
 * Has the write-ahead log start over where SQLite by itself does not come to that. Commits copy what nobody
 * reads from the log any more, but it begins anew only when all of it is copied and nobody reads from it.
 * Where several processes write, each copying ends a few pages behind the next commit, for as long as
 * they write; the next reader that comes meanwhile then keeps the log for as long as it likes.
 *
 * So a log that is larger than it should be is not left to commits. It is copied by looks at it, each of
 * which waits for nobody, and when little is left, that is copied with the write lock held: SQLite
 * lets one process at a time do so. The size is that of the file, which is cut to nothing each time:
 * while it is small, nothing is asked of the database.
 */
export class WriteAheadLog {
  readonly #session: SqliteSession;
  readonly #file: string;
  readonly #random: () => number;
  #timer: NodeJS.Timeout | undefined;
  #struggle: Struggle | undefined;
  #isWorrying = false;
  #closed = false;

  constructor(session: SqliteSession, file: string, random: () => number = Math.random) {
    this.#session = session;
    this.#file = `${path.resolve(file)}-wal`;
    this.#random = random;
    this.#lookIn(FLOOR_MS);
  }

  /** Whether it has been far too large for a while, until it is small again. */
  get isWorrying(): boolean {
    return this.#isWorrying;
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  #lookIn(ms: number): void {
    if (!this.#closed) {
      this.#timer = setTimeout(() => void this.#look(), ms);
      this.#timer.unref();
    }
  }

  async #look(): Promise<void> {
    let waitMs = FLOOR_MS;
    try {
      const bytes = this.#bytes();
      if (bytes > LARGE_BYTES) {
        const struggle = (this.#struggle ??= await this.#begin());
        this.#isWorrying ||=
          bytes > WORRYING_BYTES && performance.now() - struggle.since > WORRY_AFTER_MS;
        await this.#shorten(struggle);
        waitMs = struggle.lookMs * (0.5 + this.#random() / 2);
      } else if (this.#struggle !== undefined) {
        await checkpointByItself(this.#session);
        this.#struggle = undefined;
        this.#isWorrying = false;
      }
    } catch {
      // A database that cannot be read or written now is met again by the next write.
    }
    this.#lookIn(waitMs);
  }

  /** From here on commits of this connection copy nothing: all who write would be in each other's way. */
  async #begin(): Promise<Struggle> {
    await this.#session.set('wal_autocheckpoint', 0);
    return {
      since: performance.now(),
      pages: -1,
      copied: -1,
      lookMs: LOOK_MS.least,
      tryMs: TRY_MS.least,
      tryAt: 0,
    };
  }

  async #shorten(struggle: Struggle): Promise<void> {
    // What nobody reads any more; it waits for nobody.
    const [row = []] = await this.#session.run(query('PRAGMA wal_checkpoint(PASSIVE)'));
    const [pages, copied] = [Number(row[1]), Number(row[2])];
    if (pages < 0) {
      // Somebody else is copying.
      struggle.lookMs = LOOK_MS.least;
      return;
    }
    if (copied === struggle.copied) {
      const most = pages === struggle.pages ? FLOOR_MS : LOOK_MS.most;
      struggle.lookMs = Math.min(struggle.lookMs * 2, most);
    } else {
      struggle.lookMs = LOOK_MS.least;
      struggle.tryMs = TRY_MS.least;
      struggle.tryAt = 0;
    }
    struggle.pages = pages;
    struggle.copied = copied;
    if (pages - copied <= LAST_PAGES && performance.now() >= struggle.tryAt && !this.#closed) {
      await this.#startOver();
      struggle.tryAt = performance.now() + struggle.tryMs;
      struggle.tryMs = Math.min(struggle.tryMs * 2, TRY_MS.most);
    }
  }

  /** Copies the rest while nobody can write, waits a moment for those who read, and cuts the file to nothing. */
  async #startOver(): Promise<void> {
    const session = this.#session;
    await Promise.all([
      session.set('busy_timeout', PATIENCE_MS),
      session.run(query('PRAGMA wal_checkpoint(TRUNCATE)')),
      session.set('busy_timeout', 0),
    ]);
  }

  #bytes(): number {
    return statSync(this.#file, { throwIfNoEntry: false })?.size ?? 0;
  }
}
