import type { IncomingMessage, ServerResponse } from 'node:http';

/** What a request of Express and one of Fastify have in common. */
export interface HttpRequest {
  readonly method: string;
  readonly url: string;
  /** The URL as received, where a middleware or router has rewritten `url`. */
  readonly originalUrl?: string;
  readonly headers: IncomingMessage['headers'];
  readonly params: unknown;
  readonly query: unknown;
  readonly body?: unknown;
  /** As they came, names and values in turn; on Fastify only Node's own request has them. */
  readonly rawHeaders?: readonly string[];
  /** Node's own request, on Fastify. */
  readonly raw?: IncomingMessage;
}

/** What a response of Express and a reply of Fastify have in common. */
export interface HttpResponse {
  status(code: number): unknown;
  header(name: string, value: string): unknown;
  getHeader(name: string): unknown;
  send(body?: string): unknown;
  /** Node's own response, on Fastify. */
  readonly raw?: ServerResponse;
  /** Fastify: the headers set so far. */
  getHeaders?(): Readonly<Record<string, number | string | string[] | undefined>>;
  /** Fastify: the caller answers through `raw` from now on. */
  hijack?(): unknown;
}

/** Node's response below the framework's. */
export function rawResponse(response: HttpResponse): ServerResponse {
  // On Express the response is Node's own, with more methods.
  return response.raw ?? (response as HttpResponse & ServerResponse);
}

/** The path as the client asked for it: prefix and version included, no query, no origin. */
export function pathOf(request: HttpRequest): string {
  const [asked = ''] = (request.originalUrl ?? request.url).split('?', 1);
  // A request may name the whole URL, as proxies are asked; whose it says it is stays out of answers.
  const path = asked.replace(/^[a-z][a-z\d+.-]*:\/\/[^/]*/i, '');
  return `/${path.replace(/^\/+|\/+$/g, '')}`;
}

/** One header as text; undefined when it is absent. */
export function headerOf(request: HttpRequest, name: string): string | undefined {
  const value = request.headers[name];
  return Array.isArray(value) ? value.join(', ') : value;
}

/** Whether a header came more than once; Node makes one text of most that do. */
export function isRepeated(request: HttpRequest, name: string): boolean {
  const { rawHeaders = request.raw?.rawHeaders ?? [] } = request;
  return rawHeaders.filter((each, at) => at % 2 === 0 && each.toLowerCase() === name).length > 1;
}

/** Fires when the client goes away before it has been answered. */
export function clientGone(response: HttpResponse): AbortSignal {
  const raw = rawResponse(response);
  const controller = new AbortController();
  raw.once('close', () => {
    if (!raw.writableFinished) {
      controller.abort();
    }
  });
  return controller.signal;
}

/** Sends JSON text under its media type, whatever JSON settings the host has. */
export function sendJson(response: HttpResponse, mediaType: string, body: unknown): void {
  if (response.getHeader('Cache-Control') === undefined) {
    response.header('Cache-Control', 'private, no-cache');
  }
  response.header('Content-Type', `${mediaType}; charset=utf-8`);
  response.send(JSON.stringify(body));
}
