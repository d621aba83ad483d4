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

/** What writes, alone or by what comes before it, in the text of a statement. */
const WRITES = /\bCOMMIT\b|\bINSERT INTO\b|\bDELETE FROM\b|(?<!FOR |KEY )\bUPDATE\b/;

/** A statement of PostgreSQL that has a name: its text comes with it once. */
const NAMED = /(nestjs_jobs_\d+)\0([^\0]*)/g;

/**
 * Stands between applications and their server, and behaves as networks do on bad days. What happens to
 * connections is counted when it does.
 */
export class FaultProxy {
  readonly #server = createServer((client) => this.#serve(client));
  readonly #links = new Set<Link>();
  #port: number;
  #delayMs = 0;
  /** Half-open, or reset. */
  breaks = 0;
  /** Whose answer did not come back, and those of them that were to write. */
  cuts = 0;
  cutWrites = 0;

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
  freeze(share: number, random: () => number): void {
    for (const link of this.#some(share, random)) {
      link.isFrozen = true;
      link.server.destroy();
      this.breaks += 1;
    }
  }

  /** From now on it leads to another server, and nobody is connected to the old one any more. */
  lead(port: number): void {
    this.#port = port;
    for (const link of this.#links) {
      link.isDoomed = false;
    }
    this.reset(1, () => 0);
  }

  reset(share: number, random: () => number): void {
    for (const link of this.#some(share, random)) {
      link.client.resetAndDestroy();
      link.server.destroy();
      this.breaks += 1;
    }
  }

  /** The next statement of these connections is done, and they break before its answer. */
  cutAfterNext(share: number, random: () => number): void {
    for (const link of this.#some(share, random)) {
      link.isDoomed = true;
    }
  }

  async close(): Promise<void> {
    for (const { client, server } of this.#links) {
      client.destroy();
      server.destroy();
    }
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #some(share: number, random: () => number): readonly Link[] {
    return [...this.#links].filter(
      ({ isFrozen, isDoomed }) => !isFrozen && !isDoomed && random() < share,
    );
  }

  #serve(client: Socket): void {
    const server = connect(this.#port, '127.0.0.1');
    const link: Link = { client, server, isFrozen: false, isDoomed: false };
    this.#links.add(link);
    let isCut = false;
    let isWrite = false;
    const named = new Map<string, string>();
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
      isWrite = writes(chunk.toString('latin1'), named);
      toServer(chunk);
    });
    server.on('data', (chunk: Buffer) => {
      if (!isCut) {
        toClient(chunk);
      } else if (this.#links.has(link)) {
        this.cuts += 1;
        this.cutWrites += isWrite ? 1 : 0;
        end();
      }
    });
  }
}

/** Whether something is written by that message; what statements with names say is remembered. */
function writes(message: string, named: Map<string, string>): boolean {
  const texts = [...message.matchAll(NAMED)].map(([, name = '', text = '']) => {
    if (text !== '') {
      named.set(name, text);
    }
    return named.get(name) ?? '';
  });
  return [message, ...texts].some((text) => WRITES.test(text));
}
