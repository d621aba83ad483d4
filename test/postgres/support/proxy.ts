import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { inject } from 'vitest';
import { closeLater } from '../../support/cleanup.js';

/** What happens to a connection once it says something. */
interface Ambush {
  readonly marker: string;
  /** Said first, on the same connection; else at once. */
  readonly after: string | undefined;
  /** Before what was said goes on to the server. */
  readonly before?: () => Promise<void>;
  /** The answer is thrown away, and the connection with it. */
  readonly isCut: boolean;
  /** From then on nobody hears of the other side, nor of its end. */
  readonly isMute?: boolean;
  readonly done: () => void;
}

/** Stands between the application and the server, and breaks connections at a word. */
export class Proxy {
  readonly #url: URL;
  readonly #server = createServer((client) => this.#serve(client));
  readonly #sockets = new Set<Socket>();
  #ambushes: Ambush[] = [];
  #isMute = false;

  constructor(url: string) {
    this.#url = new URL(url);
  }

  /** TypeORM options that lead through it. */
  get options(): object {
    const { port } = this.#server.address() as AddressInfo;
    return { host: '127.0.0.1', port };
  }

  listen(): Promise<void> {
    return new Promise((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  /** The next connection that says the marker never hears the answer, though the server gave it. */
  cutAnswerTo(marker: string, after?: string): Promise<void> {
    return new Promise((done) => this.#ambushes.push({ marker, after, isCut: true, done }));
  }

  /** What says the marker next is held up until the work is done. */
  holdUp(marker: string, before: () => Promise<void>, after?: string): Promise<void> {
    return new Promise((done) =>
      this.#ambushes.push({ marker, after, before, isCut: false, done }),
    );
  }

  /** From what says the marker next on, all connections hang until it is closed; resolves when they do. */
  hang(marker: string, after?: string): Promise<void> {
    return new Promise((done) =>
      this.#ambushes.push({ marker, after, isCut: false, isMute: true, done }),
    );
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) {
      socket.destroy();
    }
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #serve(client: Socket): void {
    const { port, hostname, protocol } = this.#url;
    const server = connect(
      Number(port || (protocol.startsWith('postgres') ? 5432 : 3306)),
      hostname,
    );
    const said = new Set<string>();
    let isCut = false;
    let turn: Promise<void> = Promise.resolve();
    const end = (): void => {
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      socket.setNoDelay(true);
      socket.on('error', end);
      socket.on('close', () => {
        this.#sockets.delete(socket);
        if (!this.#isMute || socket === client) {
          end();
        }
      });
    }
    client.on('data', (chunk: Buffer) => {
      const text = chunk.toString('latin1');
      const ambush = this.#ambushes.find(
        (each) => text.includes(each.marker) && (each.after === undefined || said.has(each.after)),
      );
      for (const { after } of this.#ambushes) {
        if (after !== undefined && text.includes(after)) {
          said.add(after);
        }
      }
      if (ambush !== undefined) {
        this.#ambushes = this.#ambushes.filter((each) => each !== ambush);
        isCut = ambush.isCut;
        this.#isMute ||= ambush.isMute === true;
      }
      if (this.#isMute) {
        ambush?.done();
        return;
      }
      turn = turn.then(async () => {
        await ambush?.before?.();
        server.write(chunk);
        ambush?.done();
      });
    });
    server.on('data', (chunk: Buffer) => {
      if (isCut) {
        end();
      } else if (!this.#isMute) {
        client.write(chunk);
      }
    });
  }
}

/** A proxy to a server of the run, gone after the test. */
export async function startProxy(url = inject('postgres')): Promise<Proxy> {
  const proxy = new Proxy(url);
  await proxy.listen();
  closeLater(() => proxy.close(), 'test');
  return proxy;
}
