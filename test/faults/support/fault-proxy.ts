import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';

interface Link {
  readonly client: Socket;
  readonly server: Socket;
  /** Nothing comes through any more, and nobody is told. */
  isFrozen: boolean;
  /** What the client says next reaches the server, and the answer does not come back. */
  isDoomed: boolean;
}

/**
 * Stands between applications and their server, and behaves as networks do on bad days. What strikes
 * connections gives how many.
 */
export class FaultProxy {
  readonly #server = createServer((client) => this.#serve(client));
  readonly #links = new Set<Link>();
  #port: number;
  #delayMs = 0;

  private constructor(port: number) {
    this.#port = port;
  }

  static async start(port: number): Promise<FaultProxy> {
    const proxy = new FaultProxy(port);
    await new Promise<void>((resolve) => proxy.#server.listen(0, '127.0.0.1', resolve));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Every message takes so long from now on, in each direction. */
  set delayMs(ms: number) {
    this.#delayMs = ms;
  }

  /** The other end vanishes without a word: these connections are half-open from now on. */
  freeze(share: number, random: () => number): number {
    const struck = this.#some(share, random);
    for (const link of struck) {
      link.isFrozen = true;
      link.server.destroy();
    }
    return struck.length;
  }

  /** From now on it leads to another server, and nobody is connected to the old one any more. */
  lead(port: number): void {
    this.#port = port;
    this.reset(1, () => 0);
  }

  reset(share: number, random: () => number): number {
    const struck = this.#some(share, random);
    for (const link of struck) {
      link.client.resetAndDestroy();
      link.server.destroy();
    }
    return struck.length;
  }

  /** The next statement of these connections is done, and they break before its answer. */
  cutAfterNext(share: number, random: () => number): number {
    const struck = this.#some(share, random);
    for (const link of struck) {
      link.isDoomed = true;
    }
    return struck.length;
  }

  async close(): Promise<void> {
    for (const { client, server } of this.#links) {
      client.destroy();
      server.destroy();
    }
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #some(share: number, random: () => number): readonly Link[] {
    return [...this.#links].filter((link) => !link.isFrozen && random() < share);
  }

  #serve(client: Socket): void {
    const server = connect(this.#port, '127.0.0.1');
    const link: Link = { client, server, isFrozen: false, isDoomed: false };
    this.#links.add(link);
    let isCut = false;
    const end = (): void => {
      this.#links.delete(link);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on('error', () => socket.destroy());
    }
    client.on('close', end);
    // The client of a frozen link does not hear that the server has gone.
    server.on('close', () => link.isFrozen || end());
    const pass = (to: Socket): ((chunk: Buffer) => void) => {
      let turn: Promise<unknown> = Promise.resolve();
      return (chunk) => {
        const delayMs = this.#delayMs;
        turn = turn
          .then(() => (delayMs === 0 ? undefined : pause(delayMs)))
          .then(() => link.isFrozen || to.destroyed || to.write(chunk));
      };
    };
    const toServer = pass(server);
    const toClient = pass(client);
    client.on('data', (chunk: Buffer) => {
      isCut ||= link.isDoomed;
      toServer(chunk);
    });
    server.on('data', (chunk: Buffer) => (isCut ? end() : toClient(chunk)));
  }
}
