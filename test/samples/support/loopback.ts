import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { until } from '../../support/waiting.js';

/** How the server answers one request. */
export type Answer = (request: IncomingMessage, response: ServerResponse, part: string) => void;

/** A server on this machine that answers as it is told, one request after the other. */
export interface Loopback {
  readonly url: string;
  /** The requests so far, by their `Range` and what proves it. */
  readonly requests: readonly { range?: string; ifRange?: string }[];
  close(): void;
}

/**
 * Gives the first answer to the first request, and so on; the last one to all that follow. `part` is
 * where the client keeps what has come.
 */
export async function loopback(answers: readonly Answer[], part: string): Promise<Loopback> {
  const requests: { range?: string; ifRange?: string }[] = [];
  const server = createServer((request, response) => {
    const answer = answers[Math.min(requests.length, answers.length - 1)];
    const { range, 'if-range': ifRange } = request.headers;
    requests.push({ ...(range && { range }), ...(ifRange && { ifRange: String(ifRange) }) });
    answer?.(request, response, part);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/file`,
    requests,
    close: () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** What an answer sends, and how it breaks off. */
export interface Sending {
  /** Its ETag; by default one made of the content. */
  readonly etag?: string | false;
  readonly lastModified?: string;
  /** The connection is cut after so many bytes. */
  readonly cutAfter?: number;
  /** Nothing comes after so many bytes. */
  readonly stallAfter?: number;
  /** The server knows no ranges. */
  readonly ignoreRange?: boolean;
  /** No `Content-Length`: the body ends where it ends. */
  readonly chunked?: boolean;
  /** Where a range really begins, whatever was asked for. */
  readonly shift?: number;
}

/** Sends the content, or the range of it that is asked for and proved. */
export function send(content: Buffer, sending: Sending = {}): Answer {
  const tag = sending.etag ?? `"${createHash('md5').update(content).digest('hex')}"`;
  return (request, response, part) => {
    if (tag !== false) response.setHeader('etag', tag);
    if (sending.lastModified) response.setHeader('last-modified', sending.lastModified);
    const offset = sending.ignoreRange ? 0 : provenOffset(request, [tag, sending.lastModified]);
    const from = offset + (offset > 0 ? (sending.shift ?? 0) : 0);
    if (offset > content.length) {
      response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end();
      return;
    }
    if (offset > 0) {
      response.statusCode = 206;
      const last = content.length - 1;
      response.setHeader('content-range', `bytes ${from}-${last}/${content.length}`);
    }
    const body = content.subarray(from);
    if (!sending.chunked) response.setHeader('content-length', body.length);
    breakOff(response, body, sending, part);
  };
}

/** Answers with a status and nothing else. */
export function status(code: number, headers: Record<string, string> = {}): Answer {
  return (_request, response) => void response.writeHead(code, headers).end('not today');
}

function breakOff(
  response: ServerResponse,
  body: Buffer,
  { cutAfter, stallAfter, chunked }: Sending,
  part: string,
): void {
  if (cutAfter !== undefined) {
    const before = digestOf(part);
    // What the client has not yet written when the connection breaks is lost to it.
    const hasArrived = () => statSize(part) > 0 && digestOf(part) !== before;
    response.write(body.subarray(0, cutAfter));
    // A chunked body that ends early ends well, as far as the client can see.
    const cut = () => (chunked ? response.end() : response.destroy());
    void until(hasArrived, 'the first bytes to arrive').then(cut, cut);
  } else if (stallAfter !== undefined) {
    response.write(body.subarray(0, stallAfter));
  } else {
    response.end(body);
  }
}

function provenOffset(request: IncomingMessage, proofs: unknown[]): number {
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? '');
  return range !== null && proofs.includes(request.headers['if-range']) ? Number(range[1]) : 0;
}

function statSize(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

function digestOf(file: string): string {
  const content = statSize(file) > 0 ? readFileSync(file) : '';
  return createHash('md5').update(content).digest('hex');
}
