import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { Webhook } from 'standardwebhooks';
import { expect, it, onTestFinished, vi } from 'vitest';
import { AddressRules } from '../../lib/webhooks/address-rules.js';
import type { Resolve, Resolved } from '../../lib/webhooks/names.js';
import { Sender, type Message } from '../../lib/webhooks/sender.js';
import { newSecret } from '../../lib/webhooks/signing.js';
import { nameServer } from './name-server.js';

const secret = newSecret();

interface Receiver {
  readonly url: string;
  readonly port: number;
  readonly bodies: string[];
  readonly requests: IncomingMessage[];
}

async function receiver(
  answer: (response: ServerResponse, request: IncomingMessage) => void = (response) =>
    response.end(),
): Promise<Receiver> {
  const bodies: string[] = [];
  const requests: IncomingMessage[] = [];
  const server = createServer((request, response) => {
    requests.push(request);
    let body = '';
    request.setEncoding('utf8').on('data', (chunk: string) => (body += chunk));
    request.on('end', () => {
      bodies.push(body);
      answer(response, request);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/hook`, port, bodies, requests };
}

function sender(allow: readonly string[] = ['127.0.0.1'], resolve?: Resolve): Sender {
  const rules = { allowHttp: true, addresses: new AddressRules(allow) };
  const made = new Sender({
    rules,
    userAgent: 'nestjs-jobs/test',
    ...(resolve === undefined ? {} : { resolve }),
  });
  onTestFinished(() => made.close());
  return made;
}

function message(url: string, body = '{"type":"job.completed"}'): Message {
  return {
    id: 'one',
    url,
    tenantId: 'ann',
    body,
    secrets: [secret],
    timestampSec: Math.floor(Date.now() / 1000),
  };
}

it('sends the exact bytes that it signed, as the reference library verifies', async () => {
  const there = await receiver((response) => response.end('thanks'));
  const body = JSON.stringify({ type: 'job.completed', text: 'Grüße\u2028日本' });
  const answer = await sender().send(message(there.url, body));
  expect(answer).toMatchObject({ isAcknowledged: true, status: 200, text: 'thanks' });
  const [request] = there.requests;
  expect(there.bodies).toEqual([body]);
  expect(
    new Webhook(secret).verify(there.bodies[0] ?? '', request?.headers as Record<string, string>),
  ).toEqual(JSON.parse(body));
  expect(request?.headers).toMatchObject({
    'content-type': 'application/json',
    'accept-encoding': 'identity',
    'user-agent': 'nestjs-jobs/test',
  });
  expect(request?.headers).not.toHaveProperty('cookie');
  expect(request?.headers).not.toHaveProperty('authorization');
});

it('never reaches the host when a name leads there the next time it is asked: 1,000 tries', async () => {
  const canary = await receiver();
  // 240.0.0.1 is nowhere, so that nobody is bothered; it is named so that it counts as public here.
  const names = await nameServer((question) =>
    question % 2 === 0 ? ['240.0.0.1'] : ['127.0.0.1'],
  );
  const rebound = sender(['240.0.0.1'], names.resolve);
  const results: string[] = [];
  for (let at = 0; at < 1000; at += 50) {
    const batch = Array.from({ length: 50 }, () =>
      rebound.send(message(`http://rebound.test:${canary.port}/`)),
    );
    results.push(...(await Promise.all(batch)).map(({ error }) => error ?? 'acknowledged'));
  }
  expect(results).not.toContain('acknowledged');
  expect(results.filter((each) => /not allowed/.test(each)).length).toBeGreaterThan(300);
  expect(names.questions()).toBeGreaterThanOrEqual(1000);
  expect(canary.requests).toHaveLength(0);
}, 60_000);

it('takes no address where one of several is not allowed, and none from a name without any', async () => {
  const canary = await receiver();
  const mixed = await nameServer(() => ['240.0.0.1', '127.0.0.1']);
  const url = `http://mixed.test:${canary.port}/`;
  const answer = await sender(['240.0.0.1'], mixed.resolve).send(message(url));
  expect(answer.error).toMatch(/not allowed/);
  const none = await nameServer(() => []);
  expect((await sender(['127.0.0.1'], none.resolve).send(message(url))).error).toBeDefined();
  expect(canary.requests).toHaveLength(0);
});

it('judges addresses that nobody looks up', async () => {
  const canary = await receiver();
  const strict = sender(['10.0.0.0/8']);
  for (const host of ['127.0.0.1', '127.1', '0x7f.1', '[::ffff:127.0.0.1]', '[::1]']) {
    const answer = await strict.send(message(`http://${host}:${canary.port}/`));
    expect(answer).toMatchObject({ isAcknowledged: false, status: undefined });
  }
  expect(canary.requests).toHaveLength(0);
});

it('judges the address again where the connection has come out', async () => {
  const canary = await receiver();
  const lies = vi.spyOn(AddressRules.prototype, 'isException');
  onTestFinished(() => lies.mockRestore());
  // The lookup is told yes; the socket is asked last.
  lies.mockReturnValueOnce(true);
  const names = await nameServer(() => ['127.0.0.1']);
  const answer = await sender(['10.0.0.1'], names.resolve).send(
    message(`http://inside.test:${canary.port}/`),
  );
  expect(answer.isAcknowledged).toBe(false);
  expect(canary.bodies).toHaveLength(0);
});

it.each([301, 302, 303, 307, 308])(
  'takes %i for a failure and does not follow it',
  async (code) => {
    const canary = await receiver();
    const there = await receiver((response) =>
      response.writeHead(code, { location: canary.url }).end(),
    );
    const answer = await sender().send(message(there.url));
    expect(answer).toMatchObject({
      isAcknowledged: false,
      status: code,
      error: `answered ${code}`,
    });
    expect(canary.requests).toHaveLength(0);
  },
);

it('reads little of an answer that never ends, and takes its status for the answer', async () => {
  let written = 0;
  const there = await receiver((response) => {
    const chunk = Buffer.alloc(16_384, 'x');
    const more = (): void => {
      while (!response.destroyed && written < 50_000_000) {
        written += chunk.length;
        if (!response.write(chunk)) {
          response.once('drain', more);
          return;
        }
      }
      response.end();
    };
    more();
  });
  const answer = await sender().send(message(there.url));
  expect(answer).toMatchObject({ isAcknowledged: true, status: 200 });
  expect(answer.text).toHaveLength(1024);
  expect(written).toBeLessThan(20_000_000);
});

it('unpacks nothing, however small it looks', async () => {
  const bomb = gzipSync(Buffer.alloc(20_000_000));
  const there = await receiver((response) =>
    response.writeHead(200, { 'content-encoding': 'gzip' }).end(bomb),
  );
  const answer = await sender().send(message(there.url));
  expect(answer.isAcknowledged).toBe(true);
  expect(answer.text?.length).toBeLessThanOrEqual(1024);
});

it('refuses headers of more than 16 kB', async () => {
  const there = await receiver((response) =>
    response.writeHead(200, { 'x-long': 'x'.repeat(17_000) }).end(),
  );
  const answer = await sender().send(message(there.url));
  expect(answer).toMatchObject({ isAcknowledged: false, status: undefined });
  expect(answer.error).toMatch(/headers/);
});

it('keeps of an answer what a terminal does not act on', async () => {
  const there = await receiver((response) =>
    response.writeHead(500).end('a\u001b[31mb\u0000c\u202ed\ne\u009b'),
  );
  const answer = await sender().send(message(there.url));
  expect(answer).toMatchObject({ isAcknowledged: false, status: 500, text: 'a[31mbcd\ne' });
});

it('gives up a receiver that accepts and says nothing', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const there = await receiver(() => undefined);
  const sent = sender().send(message(there.url));
  await vi.waitFor(() => expect(there.requests).toHaveLength(1), { timeout: 10_000 });
  vi.advanceTimersByTime(15_001);
  expect(await sent).toMatchObject({ isAcknowledged: false, error: 'no answer within 15 s' });
});

it('gives up a receiver whose headers drip', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  let drops = 0;
  const server = createTcpServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\n');
      const drip = setInterval(() => socket.write(`x-${(drops += 1)}: drop\r\n`), 5);
      socket.once('close', () => clearInterval(drip));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const sent = sender().send(
    message(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`),
  );
  await vi.waitFor(() => expect(drops).toBeGreaterThan(20), { timeout: 10_000 });
  vi.advanceTimersByTime(15_001);
  expect(await sent).toMatchObject({
    isAcknowledged: false,
    status: undefined,
    error: 'no answer within 15 s',
  });
});

it.each([
  [500, { isAcknowledged: false, error: 'answered 500' }],
  [200, { isAcknowledged: true, error: undefined }],
])(
  'reads no longer than 15 s of a body that drips after a %i, which is the answer',
  async (status, answered) => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    onTestFinished(() => void vi.useRealTimers());
    let drops = 0;
    let isClosed = false;
    const there = await receiver((response) => {
      response.writeHead(status);
      const drip = setInterval(() => {
        drops += 1;
        response.write('x');
      }, 5);
      response.once('close', () => {
        clearInterval(drip);
        isClosed = true;
      });
    });
    const sent = sender().send(message(there.url));
    await vi.waitFor(() => expect(drops).toBeGreaterThan(20), { timeout: 10_000 });
    expect(isClosed).toBe(false);
    vi.advanceTimersByTime(15_001);
    const answer = await sent;
    expect(answer).toMatchObject({ status, ...answered });
    expect(answer.text).toMatch(/^x+$/);
    await vi.waitFor(() => expect(isClosed).toBe(true), { timeout: 10_000 });
  },
);

it('waits 5 s for a connection, also for one that is there and never becomes secure', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const sockets: Socket[] = [];
  const server = createTcpServer((socket) => void sockets.push(socket.resume()));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    sockets.forEach((socket) => socket.destroy());
    server.close();
  });
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const sent = sender().send(message(url));
  await vi.waitFor(() => expect(sockets).toHaveLength(1), { timeout: 10_000 });
  vi.advanceTimersByTime(5001);
  expect(await sent).toMatchObject({
    isAcknowledged: false,
    error: 'no connection within 5 s',
  });
});

it('has nothing under way when it is closed, and begins nothing after that', async () => {
  const there = await receiver(() => undefined);
  let found: (addresses: Resolved[]) => void = () => undefined;
  const names = new Promise<Resolved[]>((resolve) => (found = resolve));
  const one = sender(['127.0.0.1'], () => names);
  const answered = one.send(message(there.url));
  const named = one.send(message(`http://late.test:${there.port}/`));
  await vi.waitFor(() => expect(there.requests).toHaveLength(1), { timeout: 10_000 });
  one.close();
  expect(await answered).toMatchObject({ isAcknowledged: false, status: undefined });
  expect(await named).toMatchObject({ isAcknowledged: false, status: undefined });
  found([{ address: '127.0.0.1', family: 4 }]);
  expect((await one.send(message(there.url))).error).toBe('the process that sends it ends');
  // Another one's request is the last to arrive.
  const other = sender();
  void other.send(message(there.url));
  await vi.waitFor(() => expect(there.requests).toHaveLength(2), { timeout: 10_000 });
  expect(there.requests.map(({ headers }) => headers.host)).toEqual(
    there.requests.map(() => `127.0.0.1:${there.port}`),
  );
});

it('leaves no CONNECT to a proxy under way when it is closed', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  onTestFinished(() => void vi.useRealTimers());
  const asked: Socket[] = [];
  const proxy = createServer();
  proxy.on('connect', (_request, socket: Socket) => asked.push(socket));
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    asked.forEach((socket) => socket.destroy());
    proxy.close();
  });
  const { port } = proxy.address() as AddressInfo;
  const one = new Sender({
    rules: { allowHttp: true, addresses: new AddressRules() },
    userAgent: 'nestjs-jobs/test',
    proxy: new URL(`http://127.0.0.1:${port}`),
  });
  const sent = one.send(message('https://example.com/'));
  await vi.waitFor(() => expect(asked).toHaveLength(1), { timeout: 10_000 });
  const isClosed = new Promise((resolve) =>
    asked[0]?.once('end', resolve).once('error', resolve).resume(),
  );
  one.close();
  expect(await sent).toMatchObject({ isAcknowledged: false, status: undefined });
  await isClosed;
});

it('says in words what else went wrong', async () => {
  const gone = await receiver((_response, request) => request.socket.destroy());
  expect((await sender().send(message(gone.url))).error).toMatch(/closed|reset/);
  expect((await sender().send(message('http://127.0.0.1:1/'))).error).toBe(
    'the connection was refused',
  );
});

it('sends once more, over a new connection, what a kept one was closed on', async () => {
  let connections = 0;
  let requests = 0;
  const server = createTcpServer((socket) => {
    connections += 1;
    let ofThis = 0;
    socket.on('error', () => undefined);
    socket.on('data', () => {
      requests += 1;
      ofThis += 1;
      if (ofThis === 1) {
        socket.write('HTTP/1.1 204 No Content\r\n\r\n');
      } else {
        socket.resetAndDestroy();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const one = sender();
  expect(await one.send(message(url))).toMatchObject({ status: 204 });
  expect(await one.send(message(url))).toMatchObject({ status: 204 });
  expect({ connections, requests }).toEqual({ connections: 2, requests: 3 });
});

it('does not send again what a new connection was closed on', async () => {
  const gone = await receiver((_response, request) => request.socket.destroy());
  expect(await sender().send(message(gone.url))).toMatchObject({ isAcknowledged: false });
  expect(gone.requests).toHaveLength(1);
});
