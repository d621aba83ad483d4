import { createRequire } from 'node:module';
import path from 'node:path';
import { Worker } from 'node:worker_threads';

/** Asks a server, and has the answer at once. */
export type Ask = (sql: string, database?: string) => readonly Record<string, unknown>[];

interface Administrator {
  readonly worker: Worker;
  readonly signal: Int32Array;
  readonly length: Int32Array;
  readonly data: Uint8Array;
}

/**
 * Asks a server and waits for the answer without giving up this turn: tests make databases in places
 * that cannot wait. Another thread has the connection. `connect` is the body of a function of
 * `driver`, the package of that name, and `url`; it gives what answers a statement on a database.
 */
export function asker(driver: string, url: () => string, connect: string): Ask {
  let known: Administrator | undefined;
  return (sql, database) => {
    known ??= administrator(driver, url(), connect);
    const { worker, signal, data, length } = known;
    Atomics.store(signal, 0, 0);
    worker.postMessage({ sql, database });
    Atomics.wait(signal, 0, 0, 20_000);
    const text = new TextDecoder().decode(data.slice(0, Atomics.load(length, 0)));
    const answer = JSON.parse(text) as { rows?: Record<string, unknown>[]; error?: string };
    if (answer.rows === undefined) {
      throw new Error(`${sql}: ${answer.error}`);
    }
    return answer.rows;
  };
}

function administrator(driver: string, url: string, connect: string): Administrator {
  const shared = new SharedArrayBuffer(1 << 20);
  const worker = new Worker(PROGRAM, {
    eval: true,
    workerData: {
      shared,
      url,
      connect,
      driver: createRequire(path.join(process.cwd(), 'package.json')).resolve(driver),
    },
  });
  worker.unref();
  return {
    worker,
    signal: new Int32Array(shared, 0, 1),
    length: new Int32Array(shared, 4, 1),
    data: new Uint8Array(shared, 8),
  };
}

const PROGRAM = `
const { parentPort, workerData } = require('node:worker_threads');
const signal = new Int32Array(workerData.shared, 0, 1), length = new Int32Array(workerData.shared, 4, 1);
const data = new Uint8Array(workerData.shared, 8);
const ask = new Function('driver', 'url', workerData.connect)(require(workerData.driver), workerData.url);
parentPort.on('message', async ({ sql, database }) => {
  let answer;
  try { answer = { rows: await ask(sql, database) }; }
  catch (error) { answer = { error: String(error) }; }
  const bytes = new TextEncoder().encode(JSON.stringify(answer));
  data.set(bytes); Atomics.store(length, 0, bytes.length);
  Atomics.store(signal, 0, 1); Atomics.notify(signal, 0);
});`;
