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

/** What a route returns to answer with a stream of events instead of JSON. */
export class EventStream {
  constructor(readonly events$: Observable<StreamEvent>) {}
}

/** Proxies give up on a silent connection after 30 to 60 seconds; browsers never notice a dead one. */
const KEEP_ALIVE_MS = 10_000;

/** A client that does not read is dropped with this many bytes waiting; it comes back by itself. */
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
    const end = (): void => subscription.unsubscribe();
    const timer = setInterval(() => raw.write(': keep-alive\n\n'), KEEP_ALIVE_MS);
    timer.unref();
    subscription.add(() => {
      clearInterval(timer);
      signal.removeEventListener('abort', end);
      raw.end();
    });
    signal.addEventListener('abort', end);
    raw.once('close', end);
    subscription.add(
      stream.events$.subscribe({
        next: (event) => {
          raw.write(encode(event));
          if (raw.writableLength > MAX_WAITING_BYTES) {
            raw.destroy();
          }
        },
        // The client asks again, and is then told in a problem document what is the matter.
        error: end,
        complete: end,
      }),
    );
  }
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
