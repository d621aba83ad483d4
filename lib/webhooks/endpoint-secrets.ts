import type { WebhookStore } from '../store/webhooks.js';
import type { Opened, SecretBox } from './secret-box.js';

/** Endpoints that one read looks at, and reads at most, at boot. */
const AT_ONCE = 200;
const MOST_READS = 100;
/** Endpoints of which is remembered that it was said. */
const MOST_COMPLAINTS = 1000;

/** What the secrets of endpoints are read with. */
export interface EndpointSecretsParts {
  readonly store: WebhookStore;
  readonly box: SecretBox;
  nowMs(): number;
  readonly warn: (text: string) => void;
}

/**
 * The secrets of endpoints as the database has them. What an older key has encrypted is encrypted with the
 * present one when it is seen, so that the older one can be left out some day.
 */
export class EndpointSecrets {
  readonly #parts: EndpointSecretsParts;
  readonly #complaints = new Set<string>();
  #isStopped = false;
  /** The source of keys gave none when it was asked last. */
  #isKeyless = false;

  constructor(parts: EndpointSecretsParts) {
    this.#parts = parts;
  }

  /** Those that sign now, the newest first; undefined where they cannot be read, which the log says once. */
  async of(id: string, sealed: string): Promise<readonly string[] | undefined> {
    const opened = await this.#opened(id, sealed);
    if (opened === undefined) {
      return undefined;
    }
    this.#complaints.delete(id);
    await this.#renew(id, sealed, opened);
    const nowMs = this.#parts.nowMs();
    return opened.secrets
      .filter(({ untilMs }) => untilMs === null || untilMs > nowMs)
      .map(({ secret }) => secret);
  }

  /** Encrypts with the present key what others have encrypted: so many, and the rest as it is used. */
  async renewAll(): Promise<void> {
    let after = '';
    for (let reads = 0; reads < MOST_READS && !this.#isStopped; reads += 1) {
      const some = await this.#parts.store.sealed(after, AT_ONCE);
      for (const { id, secrets } of some) {
        const opened = await this.#opened(id, secrets);
        if (this.#isKeyless) {
          return; // They are asked for again with the next delivery.
        }
        if (opened !== undefined && !this.#isStopped) {
          await this.#renew(id, secrets, opened);
        }
      }
      after = some.at(-1)?.id ?? '';
      if (some.length < AT_ONCE) {
        return;
      }
    }
  }

  stop(): void {
    this.#isStopped = true;
  }

  async #opened(id: string, sealed: string): Promise<Opened | undefined> {
    try {
      const opened = await this.#parts.box.open(sealed);
      this.#isKeyless = false;
      if (opened === undefined) {
        this.#complain(
          id,
          `The secret of webhook endpoint ${id} cannot be read: it was encrypted with a key that this process does not have. Put that key behind the new one in webhooks.encryptionKey (where that is not given: the former webhooks.secret behind the new one), or disable the endpoint and give it a new secret (PUT /webhooks/${id} with {"enabled": false, "rotate_secret": true}). What is for it waits until then.`,
        );
      }
      return opened;
    } catch {
      this.#isKeyless = true; // The box has said so.
      return undefined;
    }
  }

  /** Nothing is lost where it does not succeed: it is done the next time. */
  async #renew(id: string, sealed: string, opened: Opened): Promise<void> {
    if (!opened.isNewest) {
      const { box, store } = this.#parts;
      try {
        await store.reseal(id, sealed, await box.seal(opened.secrets));
      } catch {
        // The older key still opens it.
      }
    }
  }

  #complain(id: string, text: string): void {
    if (this.#complaints.has(id)) {
      return;
    }
    if (this.#complaints.size >= MOST_COMPLAINTS) {
      this.#complaints.clear();
    }
    this.#complaints.add(id);
    this.#parts.warn(text);
  }
}
