import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { onTestFinished } from 'vitest';
import type { Resolve } from '../../lib/webhooks/names.js';

/**
 * A name server that answers each question for an IPv4 address anew, with a time to live of 0, and a
 * way to ask it. `answers` gives the addresses for the nth question, or says nothing for ever.
 */
export async function nameServer(
  answers: (question: number, name: string) => readonly string[] | undefined,
): Promise<{ readonly resolve: Resolve; readonly address: string; questions(): number }> {
  let asked = 0;
  const socket = createSocket('udp4');
  socket.on('message', (message, from) => {
    const isForV4 = message.readUInt16BE(message.length - 4) === 1;
    const name = nameIn(message);
    const addresses = isForV4 ? answers(asked++, name) : [];
    if (addresses === undefined) {
      return;
    }
    socket.send(answerTo(message, addresses), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  onTestFinished(() => void socket.close());
  const resolver = new Resolver();
  resolver.setServers([`127.0.0.1:${socket.address().port}`]);
  return {
    address: `127.0.0.1:${socket.address().port}`,
    resolve: async (host) =>
      (await resolver.resolve4(host)).map((address) => ({ address, family: 4 })),
    questions: () => asked,
  };
}

/** Header, question, and one record an address that points back to the name. */
function answerTo(question: Buffer, addresses: readonly string[]): Buffer {
  let end = 12;
  while (question[end] !== 0) {
    end += (question[end] ?? 0) + 1;
  }
  const header = Buffer.alloc(12);
  question.copy(header, 0, 0, 2);
  header.writeUInt16BE(0x8180, 2);
  header.writeUInt16BE(1, 4);
  header.writeUInt16BE(addresses.length, 6);
  const records = addresses.map((address) =>
    Buffer.from([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, ...address.split('.').map(Number)]),
  );
  return Buffer.concat([header, question.subarray(12, end + 5), ...records]);
}

function nameIn(question: Buffer): string {
  const labels: string[] = [];
  for (let at = 12; question[at] !== 0; at += (question[at] ?? 0) + 1) {
    labels.push(question.toString('latin1', at + 1, at + 1 + (question[at] ?? 0)));
  }
  return labels.join('.');
}
