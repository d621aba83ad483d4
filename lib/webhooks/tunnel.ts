import * as http from 'node:http';
import * as https from 'node:https';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connect as connectSecurely, type ConnectionOptions } from 'node:tls';

const CONNECT_MS = 5000;
const HEADER_BYTES = 16_384;

/** The proxy did not connect; nothing of where it is is told. */
export class ProxyRefused extends Error {
  override readonly name: string = 'ProxyRefused';
}

type Done = (error: Error | null, socket: Duplex) => void;

/** Connections that all begin with a CONNECT to a proxy; a receiver's TLS is within them, end to end. */
export class Tunnels {
  readonly #proxy: URL;
  /** What the proxy has been asked and has not answered. */
  readonly #asked = new Set<http.ClientRequest>();

  constructor(proxy: URL) {
    this.#proxy = proxy;
  }

  agents(options: http.AgentOptions): { readonly http: http.Agent; readonly https: https.Agent } {
    const plain = new http.Agent(options);
    plain.createConnection = ({ host, port }, done = ignore) => {
      this.#connect({ host, port }, done);
      return undefined;
    };
    const secure = new https.Agent(options);
    secure.createConnection = (target: ConnectionOptions, done = ignore) => {
      this.#connect(target, (error, socket) =>
        done(error, error === null ? connectSecurely({ ...target, socket }) : socket),
      );
      return undefined;
    };
    return { http: plain, https: secure };
  }

  /** No agent knows of what the proxy has not answered yet. */
  close(): void {
    this.#asked.forEach((asked) => asked.destroy());
  }

  #connect({ host, port }: { readonly host?: unknown; readonly port?: unknown }, done: Done): void {
    const proxy = this.#proxy;
    const name = String(host);
    const path = `${name.includes(':') ? `[${name}]` : name}:${String(port)}`;
    const options: http.RequestOptions = {
      method: 'CONNECT',
      path,
      agent: false,
      maxHeaderSize: HEADER_BYTES,
      headers: { host: path, ...authorizationOf(proxy) },
    };
    const { request } = proxy.protocol === 'https:' ? https : http;
    const asked = request(new URL(`${proxy.protocol}//${proxy.host}`), options);
    this.#asked.add(asked);
    let isOver = false;
    const end = (error: Error | null, socket: Duplex): void => {
      clearTimeout(timer);
      this.#asked.delete(asked);
      if (!isOver) {
        isOver = true;
        done(error, socket);
      }
    };
    // An agent reads the error first, and no socket beside it.
    const fail = (why: string): void => end(new ProxyRefused(why), new Socket());
    const timer = setTimeout(() => asked.destroy(), CONNECT_MS);
    asked.once('connect', ({ statusCode = 0 }, socket, head) => {
      if (statusCode >= 200 && statusCode < 300) {
        socket.unshift(head);
        end(null, socket);
      } else {
        socket.destroy();
        fail(`the proxy refused to connect, with ${statusCode}`);
      }
    });
    asked.once('error', () => fail('the proxy could not be reached'));
    asked.once('close', () => fail('the proxy did not answer'));
    asked.end();
  }
}

const ignore: Done = () => undefined;

function authorizationOf({ username, password }: URL): { readonly 'proxy-authorization'?: string } {
  const text = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return username === ''
    ? {}
    : { 'proxy-authorization': `Basic ${Buffer.from(text).toString('base64')}` };
}
