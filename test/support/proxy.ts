import { createServer } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';

/** A proxy on the loopback that connects to ports of its own machine, whatever it is asked for. */
export class Proxy {
  /** What it was asked to connect to. */
  readonly asked: string[] = [];
  /** With what authorization. */
  readonly authorizations: (string | undefined)[] = [];
  port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  /** `portOf` gives the port that stands for a host and port, or none: then it refuses. */
  static async open(portOf: (asked: string) => number | undefined): Promise<Proxy> {
    const proxy = new Proxy();
    const server = createServer((_request, response) => response.writeHead(405).end());
    server.on('connect', ({ url = '', headers }, client) => {
      proxy.asked.push(url);
      proxy.authorizations.push(headers['proxy-authorization']);
      const port = portOf(url);
      client.on('error', () => client.destroy());
      if (port === undefined) {
        client.end('HTTP/1.1 403 Forbidden\r\n\r\n');
        return;
      }
      const there = connect(port, '127.0.0.1', () => {
        client.write('HTTP/1.1 200 Connection established\r\n\r\n');
        there.pipe(client).pipe(there);
      });
      there.on('error', () => client.destroy());
      there.on('close', () => client.destroy());
      client.on('close', () => there.destroy());
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    proxy.port = (server.address() as AddressInfo).port;
    return proxy;
  }
}
