import http, {
  type ClientRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import type {
  INestApplication,
  ModuleMetadata,
  NestApplicationOptions,
  Type,
  DynamicModule,
} from '@nestjs/common';
import { NestFactory, type AbstractHttpAdapter } from '@nestjs/core';
import { ExpressAdapter } from '@nestjs/platform-express';
import { FastifyAdapter } from '@nestjs/platform-fastify';
import { CapturedLog } from './captured-log.js';
import { closeLater, type Lifetime } from './cleanup.js';
import { within } from './waiting.js';

/** The HTTP servers that Nest runs on. */
export const SERVERS = ['express', 'fastify'] as const;
export type Server = (typeof SERVERS)[number];

/** An answer, read to its end. */
export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  /** Its JSON, or undefined. */
  readonly body: Json | undefined;
}

/** JSON whose shape the test knows: a wrong guess fails there. */
export interface Json {
  readonly [member: string]: Json | undefined;
  readonly [index: number]: Json | undefined;
}

/** A plain value among what was answered; null when it is not there. */
export function field(answer: Answer, name: string): string | number | null {
  const members = answer.body as Readonly<Record<string, string | number | null>> | undefined;
  return members?.[name] ?? null;
}

export interface Ask {
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent as it is, instead of `body`. */
  readonly text?: string;
  /** Without saying how long it is. */
  readonly isChunked?: boolean;
}

export interface Host {
  readonly server: Server;
  readonly module: Type | DynamicModule;
  /** Before it listens: prefix, versioning, pipes. */
  readonly configure?: (app: INestApplication) => unknown;
  readonly options?: NestApplicationOptions;
  readonly adapter?: AbstractHttpAdapter;
  readonly lifetime?: Lifetime;
}

/** An application that listens, and a client of it that sends paths as they are written. */
export class HttpApp {
  constructor(
    readonly app: INestApplication,
    readonly log: CapturedLog,
    readonly port: number,
  ) {}

  get(path: string, headers: Ask['headers'] = {}): Promise<Answer> {
    return this.ask('GET', path, { headers });
  }

  post(path: string, body?: unknown, headers: Ask['headers'] = {}): Promise<Answer> {
    return this.ask('POST', path, { headers, ...(body === undefined ? {} : { body }) });
  }

  async ask(method: string, path: string, ask: Ask = {}): Promise<Answer> {
    const response = await this.#send(method, path, ask);
    const chunks: Buffer[] = [];
    for await (const chunk of response) {
      chunks.push(chunk as Buffer);
    }
    const text = Buffer.concat(chunks).toString();
    const { statusCode = 0, headers } = response;
    const isJson = /json/.test(headers['content-type'] ?? '') && text !== '';
    const body = isJson ? (JSON.parse(text) as Json) : undefined;
    return { status: statusCode, headers, text, body };
  }

  /** Opens an event stream. */
  async listen(path: string, headers: Ask['headers'] = {}): Promise<EventReader> {
    return new EventReader(await this.#send('GET', path, { headers }));
  }

  /** A request that is under way, for a client that leaves. */
  begin(method: string, path: string, ask: Ask = {}): ClientRequest {
    const { headers = {}, body, text, isChunked = false } = ask;
    const payload = text ?? (body === undefined ? undefined : JSON.stringify(body));
    const isJson = text === undefined && body !== undefined;
    const all = {
      ...(isJson ? { 'content-type': 'application/json' } : {}),
      ...(payload === undefined || isChunked
        ? {}
        : { 'content-length': String(Buffer.byteLength(payload)) }),
      ...headers,
    };
    const to = { port: this.port, host: '127.0.0.1', method, path, headers: all, agent: false };
    const request = http.request(to).on('error', () => undefined);
    if (isChunked) request.flushHeaders();
    request.end(payload);
    return request;
  }

  #send(method: string, path: string, ask: Ask): Promise<IncomingMessage> {
    const request = this.begin(method, path, ask);
    const sent = new Promise<IncomingMessage>((resolve, reject) => {
      request.on('response', resolve).on('error', reject);
    });
    return within(sent, `${method} ${path}`);
  }
}

/** One frame of an event stream; comments are frames too. */
export interface Frame {
  readonly id?: string;
  readonly event?: string;
  readonly data?: Json;
  readonly comment?: string;
}

/** Reads an event stream by the rules of its specification. */
export class EventReader {
  readonly frames: Frame[] = [];
  readonly ended: Promise<void>;
  #buffer = '';
  #wake: () => void = () => undefined;
  #isOver = false;

  constructor(readonly response: IncomingMessage) {
    response.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    this.ended = new Promise((resolve) => {
      response.once('close', () => {
        this.#isOver = true;
        this.#wake();
        resolve();
      });
    });
  }

  /** The frames once there are so many, or the stream is over. */
  async take(count: number): Promise<Frame[]> {
    const waiting = async (): Promise<void> => {
      while (this.frames.length < count && !this.#isOver) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    };
    await within(waiting(), `${count} frames`);
    return this.frames;
  }

  /** All frames, once the server has ended the stream. */
  async all(): Promise<Frame[]> {
    await within(this.ended, 'the end of the stream');
    return this.frames;
  }

  close(): void {
    this.response.destroy();
  }

  #read(text: string): void {
    const frames = `${this.#buffer}${text}`.split('\n\n');
    this.#buffer = frames.pop() ?? '';
    this.frames.push(...frames.filter((frame) => frame.trim() !== '').map(parse));
    this.#wake();
  }
}

function parse(frame: string): Frame {
  const fields = frame.split('\n').map((line) => /^([^:]*):? ?(.*)$/s.exec(line) ?? []);
  const of = (name: string): string | undefined => {
    const values = fields.filter(([, each]) => each === name).map(([, , value = '']) => value);
    return values.length === 0 ? undefined : values.join('\n');
  };
  const [id, event, data, comment] = [of('id'), of('event'), of('data'), of('')];
  return {
    ...(id === undefined ? {} : { id }),
    ...(event === undefined ? {} : { event }),
    ...(data === undefined ? {} : { data: JSON.parse(data) as Json }),
    ...(comment === undefined ? {} : { comment }),
  };
}

/** Starts an application on a free port of this machine. */
export async function openHost(host: Host): Promise<HttpApp> {
  const log = new CapturedLog();
  const adapter =
    host.adapter ?? (host.server === 'express' ? new ExpressAdapter() : new FastifyAdapter());
  const app = await NestFactory.create(host.module, adapter, {
    logger: log,
    abortOnError: false,
    ...host.options,
  });
  closeLater(() => within(app.close(), 'close()', 12_000), host.lifetime ?? 'test');
  await host.configure?.(app);
  await app.listen(0, '127.0.0.1');
  const { port } = app.getHttpServer().address() as AddressInfo;
  return new HttpApp(app, log, port);
}

/** A module without a file of its own. */
export function moduleOf(metadata: ModuleMetadata): DynamicModule {
  class TestModule {}
  return { module: TestModule, ...metadata };
}
