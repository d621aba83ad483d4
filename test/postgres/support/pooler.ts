import { createRequire } from 'node:module';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import path from 'node:path';
import { inject } from 'vitest';
import { closeLater } from '../../support/cleanup.js';

interface Driver {
  readonly Client: new (url: string) => {
    readonly connection: { readonly stream: Socket };
    connect(): Promise<unknown>;
  };
}

const { Client } = createRequire(path.join(process.cwd(), 'package.json'))('pg') as Driver;

const SSL_REQUEST = 80_877_103;
const STARTUP = 196_608;

/** A connection to the server, lent to one transaction after the other. */
interface Lent {
  readonly stream: Socket;
  borrower: Borrower | undefined;
}

interface Borrower {
  readonly socket: Socket;
  readonly waiting: Buffer[];
  /** Questions whose answer has not come to its end. */
  asked: number;
}

/**
 * Stands before the server as PgBouncer does in its transaction mode: each transaction, and each
 * statement outside of one, goes to whichever of a few connections is free.
 */
export class Pooler {
  readonly #listening = createServer((socket) => this.#serve(socket));
  readonly #url: string;
  readonly #connections: Lent[] = [];
  readonly #borrowers = new Set<Borrower>();
  #named = 0;

  constructor(database: string) {
    const url = new URL(inject('postgres'));
    url.pathname = `/${database}`;
    this.#url = url.href;
  }

  /** TypeORM options that lead through it. */
  get options(): object {
    return { host: '127.0.0.1', port: (this.#listening.address() as AddressInfo).port };
  }

  async listen(connections: number): Promise<void> {
    for (let n = 0; n < connections; n += 1) {
      const client = new Client(this.#url);
      await client.connect();
      const { stream } = client.connection;
      // From here on the driver has no say.
      stream.removeAllListeners();
      const lent: Lent = { stream, borrower: undefined };
      stream.on(
        'data',
        framesOf('server', (type, frame) => this.#answer(lent, type, frame)),
      );
      stream.on('error', () => undefined);
      this.#connections.push(lent);
    }
    await new Promise<void>((resolve) => this.#listening.listen(0, '127.0.0.1', resolve));
  }

  async close(): Promise<void> {
    for (const { socket } of this.#borrowers) {
      socket.destroy();
    }
    for (const { stream } of this.#connections) {
      stream.destroy();
    }
    await new Promise((resolve) => this.#listening.close(resolve));
  }

  #serve(socket: Socket): void {
    const borrower: Borrower = { socket, waiting: [], asked: 0 };
    this.#borrowers.add(borrower);
    socket.setNoDelay(true);
    socket.on('error', () => undefined);
    socket.on('close', () => this.#borrowers.delete(borrower));
    socket.on(
      'data',
      framesOf('client', (type, frame) => {
        if (type === '') {
          this.#welcome(socket, frame.readInt32BE(4));
        } else if (type === 'X') {
          socket.end();
        } else {
          borrower.waiting.push(frame);
          this.#lend();
        }
      }),
    );
  }

  #welcome(socket: Socket, code: number): void {
    if (code === SSL_REQUEST) {
      socket.write('N');
    } else if (code === STARTUP) {
      const key = Buffer.from('K\0\0\0\x0c\0\0\0\0\0\0\0\0', 'latin1');
      // A number of its own making, as PgBouncer's is.
      key.writeInt32BE(2_000_000_000 + (this.#named += 1), 5);
      socket.write(
        Buffer.concat([
          Buffer.from('R\0\0\0\x08\0\0\0\0', 'latin1'),
          key,
          Buffer.from('Z\0\0\0\x05I'),
        ]),
      );
    } else {
      socket.destroy();
    }
  }

  #lend(): void {
    for (const borrower of this.#borrowers) {
      if (borrower.waiting.length > 0) {
        const lent =
          this.#connections.find((each) => each.borrower === borrower) ??
          this.#connections.findLast((each) => each.borrower === undefined);
        if (lent !== undefined) {
          lent.borrower = borrower;
          for (const frame of borrower.waiting.splice(0)) {
            borrower.asked += ['Q', 'S'].includes(String.fromCharCode(frame[0] ?? 0)) ? 1 : 0;
            lent.stream.write(frame);
          }
        }
      }
    }
  }

  #answer(lent: Lent, type: string, frame: Buffer): void {
    const { borrower } = lent;
    borrower?.socket.write(frame);
    if (borrower !== undefined && type === 'Z') {
      borrower.asked -= 1;
      if (borrower.asked === 0 && frame[5] === 'I'.charCodeAt(0)) {
        lent.borrower = undefined;
        this.#lend();
      }
    }
  }
}

/** Cuts a stream into messages; the first of a client has no type. */
function framesOf(
  side: 'client' | 'server',
  each: (type: string, frame: Buffer) => void,
): (chunk: Buffer) => void {
  let rest: Buffer = Buffer.alloc(0);
  let isTyped = side === 'server';
  return (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    for (;;) {
      const head = isTyped ? 1 : 0;
      if (rest.length < head + 4 || rest.length < head + rest.readInt32BE(head)) {
        return;
      }
      const length = head + rest.readInt32BE(head);
      const frame = rest.subarray(0, length);
      rest = rest.subarray(length);
      const type = isTyped ? String.fromCharCode(frame[0] ?? 0) : '';
      isTyped ||= frame.readInt32BE(4) === STARTUP;
      each(type, frame);
    }
  };
}

/** A pooler before a database, with so many connections; gone after the test. */
export async function startPooler(database: string, connections: number): Promise<Pooler> {
  const pooler = new Pooler(database);
  await pooler.listen(connections);
  closeLater(() => pooler.close(), 'test');
  return pooler;
}
