import type { ServerResponse } from 'node:http';
import { Inject, Injectable } from '@nestjs/common';
import { Subscription, type Observable } from 'rxjs';
import { Closing } from './closing.js';
import { rawResponse, type HttpResponse } from './http.js';

/** One server-sent event. */
export interface StreamEvent {
  readonly id: number;
  readonly type: 'status' | 'progress' | 'check_in';
  readonly data: object;
}

/** Whether the client takes more: undefined, or a promise of when it does. */
export type WhenReady = () => Promise<void> | undefined;

/** What a route returns to answer with a stream of events instead of JSON. */
export class EventStream {
  /** @param open makes the events, no faster than the client takes them */
  constructor(readonly open: (whenReady: WhenReady) => Observable<StreamEvent>) {}
}

/** Proxies give up on a silent connection after 30 to 60 seconds; browsers never notice a dead one. */
const KEEP_ALIVE_MS = 10_000;

/** A client that has taken nothing for so many of these is dropped; it comes back by itself. */
const MOST_SILENT = 6;

/** And so is one with this many bytes waiting. */
const MAX_WAITING_BYTES = 1_048_576;

/**
 * The open event streams of an application. They are written here rather than by Nest's `@Sse`, so
 * that a global interceptor that wraps answers leaves events as they are, every supported Nest line
 * sends the same frames, and shutdown ends them before the HTTP server waits for its connections.
 */
@Injectable()
export class EventStreams {
  constructor(@Inject(Closing) private readonly closing: Closing) {}

  /** Starts to stream; the stream ends with the observable, the client, or the application. */
  open(stream: EventStream, response: HttpResponse, method: string): void {
    const raw = rawResponse(response);
    start(response);
    const { signal } = this.closing;
    if (method === 'HEAD' || raw.destroyed || signal.aborted) {
      raw.end();
      return;
    }
    const subscription = new Subscription();
    const outflow = new Outflow(raw);
    const end = (): void => {
      subscription.unsubscribe();
      // The application does not wait for those who do not read.
      const isLeft = signal.aborted && outflow.isWaiting;
      outflow.end();
      if (isLeft) {
        raw.destroy();
      }
    };
    const timer = setInterval(outflow.keepAlive, KEEP_ALIVE_MS);
    timer.unref();
    signal.addEventListener('abort', end);
    // What has ended is watched until the client has taken it.
    raw.once('close', () => {
      clearInterval(timer);
      signal.removeEventListener('abort', end);
      end();
    });
    subscription.add(
      stream.open(outflow.whenReady).subscribe({
        next: (event) => outflow.write(encode(event)),
        // The client asks again, and is then told in a problem document what is the matter.
        error: end,
        complete: end,
      }),
    );
  }
}

/** What is written to one client, and whether it keeps up. */
class Outflow {
  readonly #raw: ServerResponse;
  #drained: Promise<void> | undefined;
  #release: () => void = () => undefined;
  #silent = 0;
  /** Bytes that waited when the client was looked at last. */
  #left = 0;
  #isEnded = false;

  constructor(raw: ServerResponse) {
    this.#raw = raw;
    const go = (): void => {
      this.#drained = undefined;
      this.#silent = 0;
      this.#left = 0;
      this.#release();
    };
    raw.on('drain', go).once('close', go);
  }

  readonly whenReady: WhenReady = () => this.#drained;

  /** Whether something waits for a client that does not keep up. */
  get isWaiting(): boolean {
    return this.#drained !== undefined || (this.#isEnded && this.#raw.writableLength > 0);
  }

  write(text: string): void {
    if (!this.#raw.write(text)) {
      this.#drained ??= new Promise((resolve) => {
        this.#release = resolve;
      });
    }
    if (this.#raw.writableLength > MAX_WAITING_BYTES) {
      this.#raw.destroy();
    }
  }

  /** No more is written; what waits stays for the client. */
  end(): void {
    this.#isEnded = true;
    this.#raw.end();
  }

  readonly keepAlive = (): void => {
    if (!this.#isEnded && this.#drained === undefined) {
      this.write(': keep-alive\n\n');
      return;
    }
    const left = this.#raw.writableLength;
    this.#silent = left < this.#left ? 0 : this.#silent + 1;
    this.#left = left;
    if (this.#silent >= MOST_SILENT) {
      this.#raw.destroy();
    }
  };
}

function start(response: HttpResponse): void {
  const raw = rawResponse(response);
  response.hijack?.();
  // Headers of the host's hooks wait in Fastify's reply; on Express they are in place already.
  const own = response.getHeaders?.() ?? {};
  for (const [name, value] of Object.entries(own)) {
    if (value !== undefined) {
      raw.setHeader(name, value);
    }
  }
  raw.writeHead(200, {
    'Content-Type': 'text/event-stream; charset=utf-8',
    // no-transform also keeps compression from holding events back.
    'Cache-Control': 'private, no-cache, no-store, no-transform',
    'X-Accel-Buffering': 'no',
  });
  raw.flushHeaders();
}

/**
 * The text of an event. Nothing in it can end the frame early: the id is a number, the type one of
 * three words, and JSON text has no line breaks.
 */
export function encode(event: StreamEvent): string {
  return `id: ${Math.trunc(event.id)}\nevent: ${event.type}\ndata: ${JSON.stringify(event.data)}\n\n`;
}
