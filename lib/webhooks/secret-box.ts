import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto';
import { isJobsError, JobsError } from '../model/errors.js';

const VERSION = 'v1';
const IV_BYTES = 12;
const TAG_BYTES = 16;

/** A secret, and until when it signs; the newest signs without an end. */
export interface KeptSecret {
  readonly secret: string;
  /** Unix milliseconds of the database. */
  readonly untilMs: number | null;
}

/** Where keys come from: the one that is used for what is stored now first, then those that were. */
export type KeySource = () => Promise<readonly string[]>;

/** What was in a sealed text. */
export interface Opened {
  readonly secrets: readonly KeptSecret[];
  /** Whether it is sealed with the key that is used now. */
  readonly isNewest: boolean;
}

const MOST_REMEMBERED = 1000;
/** Where no key fits, keys are asked for again, but not more often: a service may have new ones. */
const ASK_AGAIN_MS = 60_000;
/** Less than the lease of a delivery that waits for it. */
const ASKED_MS = 10_000;
/** After so long somebody whose secret could not be encrypted may ask again. */
const AWAY_SEC = 30;

/** Encrypts the secrets of endpoints for the database, with AES-256-GCM. */
export class SecretBox {
  readonly #source: KeySource;
  readonly #onAway: (error: unknown) => void;
  #keys: Promise<readonly Buffer[]> | undefined;
  #askedAt = 0;
  #isAway = false;
  readonly #opened = new Map<string, Opened>();

  /** `onAway` hears why the source gave no key, once until it gives one again. */
  constructor(source: KeySource, onAway: (error: unknown) => void = () => undefined) {
    this.#source = source;
    this.#onAway = onAway;
  }

  /** @throws JobsError `try_later` where the source gives no key */
  async seal(secrets: readonly KeptSecret[]): Promise<string> {
    const [key] = await this.#loaded();
    if (key === undefined) {
      throw new JobsError('internal_error', 'There is no key to encrypt secrets of webhooks with.');
    }
    const iv = randomBytes(IV_BYTES);
    const cipher = createCipheriv('aes-256-gcm', key, iv);
    const sealed = Buffer.concat([cipher.update(JSON.stringify(secrets), 'utf8'), cipher.final()]);
    return `${VERSION}:${Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64')}`;
  }

  /** Undefined where no key fits: the host has changed its key. @throws JobsError `try_later` as above */
  async open(text: string): Promise<Opened | undefined> {
    const remembered = this.#opened.get(text);
    if (remembered !== undefined) {
      return remembered;
    }
    const keys = this.#loaded();
    const known = this.#openWith(await keys, text);
    const isNew = this.#keys !== keys;
    if (known !== undefined || (!isNew && performance.now() - this.#askedAt < ASK_AGAIN_MS)) {
      return known;
    }
    if (!isNew) {
      this.#keys = undefined;
      this.#opened.clear();
    }
    return this.#openWith(await this.#loaded(), text);
  }

  #openWith(keys: readonly Buffer[], text: string): Opened | undefined {
    for (const [nth, key] of keys.entries()) {
      const secrets = openWith(key, text);
      if (secrets !== undefined) {
        if (this.#opened.size >= MOST_REMEMBERED) {
          this.#opened.clear();
        }
        const opened = { secrets, isNewest: nth === 0 };
        this.#opened.set(text, opened);
        return opened;
      }
    }
    return undefined;
  }

  #loaded(): Promise<readonly Buffer[]> {
    if (this.#keys === undefined) {
      this.#askedAt = performance.now();
      this.#keys = inTime(this.#source()).then(
        (keys) => {
          this.#isAway = false;
          return keys.map(derived);
        },
        (error: unknown) => {
          this.#keys = undefined;
          throw this.#away(error);
        },
      );
    }
    return this.#keys;
  }

  /** What tenants are told of it; why it is so stands in the log. */
  #away(error: unknown): unknown {
    if (isJobsError(error) && error.status === 503) {
      return error; // The database's: one key is kept there.
    }
    if (!this.#isAway) {
      this.#isAway = true;
      this.#onAway(error);
    }
    return new JobsError(
      'try_later',
      'The key that encrypts the secrets of webhook endpoints (webhooks.encryptionKey) is not to be had now, so nothing was changed. Ask again shortly.',
      { cause: error, retryAfterSec: AWAY_SEC },
    );
  }
}

/** A key service that does not answer is one that is away. */
async function inTime<T>(asked: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${ASKED_MS / 1000} s`)), ASKED_MS);
    timer.unref();
  });
  try {
    return await Promise.race([asked, late]);
  } finally {
    clearTimeout(timer);
  }
}

function derived(key: string): Buffer {
  return Buffer.from(hkdfSync('sha256', key, '', 'nestjs-jobs webhook secrets', 32));
}

function openWith(key: Buffer, text: string): readonly KeptSecret[] | undefined {
  const bytes = Buffer.from(text.slice(VERSION.length + 1), 'base64');
  try {
    const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES));
    decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES));
    const opened = Buffer.concat([
      decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)),
      decipher.final(),
    ]);
    return JSON.parse(opened.toString('utf8')) as readonly KeptSecret[];
  } catch {
    return undefined; // Sealed with another key, or not by us.
  }
}
