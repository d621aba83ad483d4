import type { Session } from '../dialects/session.js';
import type { ListedJob } from '../store.js';
import type { ListScripts } from './list.script.js';

/** The most keys of one statement. */
const MOST_KEYS = 200;

interface Look {
  readonly tenantId: string;
  readonly key: string;
  resolve(found: ListedJob | undefined): void;
  reject(error: unknown): void;
}

/**
 * Looks for the holders of idempotency keys: whatever is asked while a look is under way shares the
 * next one, so that keyed enqueues cost a server one statement for many.
 */
export class KeyLooks {
  readonly #read: Session['read'];
  readonly #lists: ListScripts;
  #waiting: Look[] = [];
  #isLooking = false;

  constructor(read: Session['read'], lists: ListScripts) {
    this.#read = read;
    this.#lists = lists;
  }

  find(tenantId: string, key: string): Promise<ListedJob | undefined> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ tenantId, key, resolve, reject });
      if (!this.#isLooking) {
        this.#isLooking = true;
        setImmediate(() => void this.#lookOn());
      }
    });
  }

  async #lookOn(): Promise<void> {
    while (this.#waiting.length > 0) {
      const looks = this.#waiting.splice(0, MOST_KEYS);
      try {
        const found = await this.#read(() => this.#lists.findByKeys(looks));
        for (const look of looks) {
          look.resolve(
            found.find(
              ({ job }) => job.idempotencyKey === look.key && job.tenantId === look.tenantId,
            ),
          );
        }
      } catch (error) {
        for (const look of looks) {
          look.reject(error);
        }
      }
    }
    this.#isLooking = false;
  }
}
