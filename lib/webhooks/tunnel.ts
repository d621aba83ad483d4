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

/** Agents whose connections all begin with a CONNECT to a proxy; a receiver's TLS is within it, end to end. */
export function tunnelAgents(
  proxy: URL,
  options: http.AgentOptions,
): { readonly http: http.Agent; readonly https: https.Agent } {
  const plain = new http.Agent(options);
  plain.createConnection = ({ host, port }, done) => {
    give(tunnelled(proxy, host, port), done);
    return undefined;
  };
  const secure = new https.Agent(options);
  secure.createConnection = (target: ConnectionOptions, done) => {
    give(
      tunnelled(proxy, target.host, target.port).then((socket) =>
        connectSecurely({ ...target, socket }),
      ),
      done,
    );
    return undefined;
  };
  return { http: plain, https: secure };
}

function give(
  made: Promise<Socket>,
  done: ((error: Error | null, socket: Duplex) => void) | undefined,
): void {
  made.then(
    (socket) => done?.(null, socket),
    // An agent reads the error first, and no socket beside it.
    (error: Error) => done?.(error, new Socket()),
  );
}

function tunnelled(proxy: URL, host: unknown, port: unknown): Promise<Socket> {
  return new Promise((resolve, reject) => {
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
    const timer = setTimeout(() => asked.destroy(new Error('late')), CONNECT_MS);
    asked.once('connect', ({ statusCode = 0 }, socket, head) => {
      clearTimeout(timer);
      if (statusCode >= 200 && statusCode < 300) {
        socket.unshift(head);
        resolve(socket);
      } else {
        socket.destroy();
        reject(new ProxyRefused(`the proxy refused to connect, with ${statusCode}`));
      }
    });
    asked.once('error', () => reject(new ProxyRefused('the proxy could not be reached')));
    asked.once('close', () => {
      clearTimeout(timer);
      reject(new ProxyRefused('the proxy did not answer'));
    });
    asked.end();
  });
}

function authorizationOf({ username, password }: URL): { readonly 'proxy-authorization'?: string } {
  const text = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return username === ''
    ? {}
    : { 'proxy-authorization': `Basic ${Buffer.from(text).toString('base64')}` };
}
