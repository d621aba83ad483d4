import type { IncomingMessage } from 'node:http';
import { isJobsError } from '../model/errors.js';
import { Connections, RefusedAddress } from './connections.js';
import type { Resolve } from './names.js';
import { askedWait } from './retry-schedule.js';
import { type SignedHeaders, sign } from './signing.js';
import { ProxyRefused } from './tunnel.js';
import { checkedUrl, type UrlRules } from './url-rules.js';

export const TOTAL_MS = 15_000;
/** Of an answer's body so much is read, and so much of it kept. */
const READ_BYTES = 65_536;
const KEPT_BYTES = 1024;
const HEADER_BYTES = 16_384;

/** What is sent, and where. */
export interface Message {
  readonly id: string;
  readonly url: string;
  /** On whose behalf; undefined for an endpoint of the options. */
  readonly tenantId: string | undefined;
  readonly body: string;
  /** The newest first. */
  readonly secrets: readonly string[];
  /** Seconds; of this try. */
  readonly timestampSec: number;
}

/** What came back. */
export interface Answer {
  /** The receiver has it: it answered with a 2xx. */
  readonly isAcknowledged: boolean;
  /** Undefined where there was no answer. */
  readonly status: number | undefined;
  readonly durationMs: number;
  /** The beginning of the answer's body, without controls. */
  readonly text: string | undefined;
  /** Why it is not acknowledged. */
  readonly error: string | undefined;
  /** The wait that the receiver asked for. */
  readonly askedMs: number | undefined;
}

/** What messages are sent with. */
export interface SenderParts {
  readonly rules: UrlRules;
  readonly userAgent: string;
  /** What all of them go through. */
  readonly proxy?: URL | undefined;
  /** How names are looked up, in tests. */
  readonly resolve?: Resolve;
}

/** An answer, as far as it was read. */
interface Received {
  readonly response: IncomingMessage;
  readonly text: string;
}

/**
 * Sends signed messages. Redirects are not followed: they are answers like any other that is no 2xx.
 * Nothing of an answer is unpacked, and little of it read.
 */
export class Sender {
  readonly #rules: UrlRules;
  readonly #connections: Connections;
  readonly #userAgent: string;

  constructor({ rules, userAgent, proxy, resolve }: SenderParts) {
    this.#rules = rules;
    this.#connections = new Connections({ rules: rules.addresses, proxy, resolve });
    this.#userAgent = userAgent;
  }

  /**
   * Whatever goes wrong on the way is an answer without a status.
   *
   * @throws JobsError `try_later` where it is not known whether it may be sent there, so that nothing was
   */
  async send(message: Message): Promise<Answer> {
    const began = performance.now();
    const answered = (answer: Partial<Answer>): Answer => ({
      isAcknowledged: false,
      status: undefined,
      text: undefined,
      error: undefined,
      askedMs: undefined,
      durationMs: Math.round(performance.now() - began),
      ...answer,
    });
    try {
      // The rules may be stricter than when the URL was stored.
      const url = checkedUrl(message.url, 'url', this.#rules, message.tenantId);
      const { response, text } = await this.#exchange(url, message);
      const status = response.statusCode ?? 0;
      const isAcknowledged = status >= 200 && status < 300;
      return answered({
        isAcknowledged,
        status,
        text,
        error: isAcknowledged ? undefined : `answered ${status}`,
        askedMs: askedWait(response.headers['retry-after'], Date.now()),
      });
    } catch (error) {
      if (isJobsError(error) && error.code === 'try_later') {
        throw error;
      }
      return answered({ error: reasonOf(error) });
    }
  }

  close(): void {
    this.#connections.close();
  }

  /**
   * A receiver may close a connection at the moment in which it is used again. What becomes of the request
   * then nobody knows: it is sent once more over a new one, as any request may come twice.
   */
  async #exchange(url: URL, message: Message): Promise<Received> {
    const deadline = performance.now() + TOTAL_MS;
    try {
      return await this.#exchangeOnce(url, message, { deadline, isFresh: false });
    } catch (error) {
      if (!(error instanceof ClosedMeanwhile)) {
        throw error;
      }
      return this.#exchangeOnce(url, message, { deadline, isFresh: true });
    }
  }

  #exchangeOnce(
    url: URL,
    message: Message,
    { deadline, isFresh }: { readonly deadline: number; readonly isFresh: boolean },
  ): Promise<Received> {
    const { id, timestampSec, body, secrets } = message;
    const headers: SignedHeaders & Record<string, string> = {
      ...sign({ id, timestampSec, body }, secrets),
      'content-type': 'application/json',
      'content-length': String(Buffer.byteLength(body)),
      'accept-encoding': 'identity',
      'user-agent': this.#userAgent,
    };
    return new Promise((resolve, reject) => {
      const request = this.#connections.request(
        url,
        { method: 'POST', headers, maxHeaderSize: HEADER_BYTES },
        { who: message.tenantId ?? url.host, isFresh },
      );
      let received: { response: IncomingMessage; kept: AnswerText } | undefined;
      const end = (error?: unknown): void => {
        clearTimeout(timer);
        if (received === undefined) {
          const why = error instanceof Error ? error : new Error('the connection was closed');
          reject(request.reusedSocket && isClosing(why) ? new ClosedMeanwhile(why) : why);
        } else {
          // The status is the acknowledgement, whatever becomes of the rest.
          resolve({ response: received.response, text: received.kept.text });
        }
      };
      const timer = setTimeout(
        () => request.destroy(new Error(`no answer within ${TOTAL_MS / 1000} s`)),
        deadline - performance.now(),
      );
      request.once('error', end);
      request.once('close', () => end());
      request.once('response', (response) => {
        const kept = new AnswerText();
        received = { response, kept };
        response.on('data', (chunk: Buffer) => {
          if (!kept.add(chunk)) {
            request.destroy();
          }
        });
        response.once('end', () => end());
        response.once('error', end);
      });
      request.end(body);
    });
  }
}

/** A connection that was used before was closed without an answer. */
class ClosedMeanwhile extends Error {
  constructor(cause: Error) {
    super(cause.message, { cause });
  }
}

function isClosing(error: Error): boolean {
  return 'code' in error && (error.code === 'ECONNRESET' || error.code === 'EPIPE');
}

/** The beginning of an answer's body. */
class AnswerText {
  #read = 0;
  #kept = Buffer.alloc(0);

  /** False once enough was read. */
  add(chunk: Buffer): boolean {
    this.#read += chunk.length;
    if (this.#kept.length < KEPT_BYTES) {
      const room = KEPT_BYTES - this.#kept.length;
      this.#kept = Buffer.concat([this.#kept, chunk.subarray(0, room)]);
    }
    return this.#read <= READ_BYTES;
  }

  get text(): string {
    return plainText(this.#kept.toString('utf8'));
  }
}

/** Controls, but for tabs and line feeds, and what turns text around. */
const ACTING = /[^\P{Cc}\t\n]|[\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/** Without what a terminal or a page might act on. */
export function plainText(text: string): string {
  return text.replace(ACTING, '');
}

/** Why there was no answer; nothing of the host's own network is told. */
function reasonOf(error: unknown): string {
  if (error instanceof RefusedAddress || error instanceof ProxyRefused) {
    return error.message;
  }
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  const message = error instanceof Error ? error.message : String(error);
  return plainText(
    typeof code === 'string' && code !== 'invalid_request' ? (WORDS[code] ?? code) : message,
  ).slice(0, 500);
}

const UNTRUSTED =
  'its certificate is signed by nobody who is trusted here (NODE_EXTRA_CA_CERTS adds who is)';

const WORDS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'the connection was refused',
  ECONNRESET: 'the connection was reset',
  EPIPE: 'the connection was closed while it was written to',
  ENOTFOUND: 'the host name was not found',
  ENODATA: 'the host name was not found',
  ETIMEOUT: 'the host name could not be looked up in time',
  ESERVFAIL: 'the host name could not be looked up',
  EAI_AGAIN: 'the host name could not be looked up',
  ETIMEDOUT: 'the connection timed out',
  HPE_HEADER_OVERFLOW: 'the headers of the answer are too large',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another host name',
  CERT_HAS_EXPIRED: 'its certificate has expired',
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
};
