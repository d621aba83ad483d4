import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer as createPlainServer } from 'node:http';
import { createServer } from 'node:https';
import { createServer as createTcpServer, type AddressInfo } from 'node:net';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import type { WebhookAnswer } from '../../lib/index.js';
import { QUICK } from '../support/boot.js';
import { AUTHORITY, HOOKS_TEST } from '../support/certificates.js';
import { createDatabase } from '../support/databases.js';
import { Proxy } from '../support/proxy.js';
import { nameServer } from '../webhooks/name-server.js';

interface Secure {
  readonly port: number;
  readonly requests: string[];
}

/** A receiver with a certificate for hooks.test. */
async function secureReceiver(): Promise<Secure> {
  const requests: string[] = [];
  const server = createServer(HOOKS_TEST, (request, response) => {
    requests.push(`${request.headers.host}`);
    request.resume().on('end', () => response.end());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { port: (server.address() as AddressInfo).port, requests };
}

/** What a process answers that tests endpoints of these URLs, with more or less trust. */
async function answersOf(
  urls: readonly string[],
  {
    isTrusting,
    webhooks = {},
    environment = {},
  }: {
    readonly isTrusting: boolean;
    readonly webhooks?: object;
    readonly environment?: Readonly<Record<string, string>>;
  },
): Promise<readonly WebhookAnswer[]> {
  const names = await nameServer(() => ['127.0.0.1']);
  const database = createDatabase();
  const authority = path.join(database.folder, 'authority.pem');
  writeFileSync(authority, AUTHORITY);
  const settings = {
    typeorm: database.options(),
    options: { ...QUICK, webhooks: { allowAddresses: ['127.0.0.1'], ...webhooks } },
    nameServer: names.address,
    urls,
  };
  const fixture = path.join(process.env['JOBS_TEST_FIXTURES'] ?? '', 'secure.mjs');
  const env = {
    ...process.env,
    ...(isTrusting ? { NODE_EXTRA_CA_CERTS: authority } : {}),
    ...environment,
  };
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [fixture, JSON.stringify(settings)],
    { env },
  );
  return JSON.parse(stdout) as WebhookAnswer[];
}

it('takes a certificate of somebody who is trusted, for the host of the URL and for no other', async () => {
  const there = await secureReceiver();
  const urls = ['hooks.test', 'other.test', '127.0.0.1'].map(
    (host) => `https://${host}:${there.port}/`,
  );
  const [good, other, bare] = await answersOf(urls, { isTrusting: true });
  expect(good).toMatchObject({ status: 200, error: null });
  const refused = { status: null, error: 'its certificate is for another host name' };
  expect(other).toMatchObject(refused);
  expect(bare).toMatchObject(refused);
  expect(there.requests).toEqual([`hooks.test:${there.port}`]);
});

it('takes no certificate of somebody who is not', async () => {
  const there = await secureReceiver();
  const [answer] = await answersOf([`https://hooks.test:${there.port}/`], { isTrusting: false });
  expect(answer).toMatchObject({ status: null });
  expect(answer?.error).toMatch(/certificate is signed by nobody who is trusted/);
  expect(there.requests).toEqual([]);
});

it('checks certificates of receivers behind a proxy too, end to end', async () => {
  const there = await secureReceiver();
  const proxy = await Proxy.open(() => there.port);
  const urls = ['https://hooks.test/', 'https://other.test:8443/'];
  const [good, other] = await answersOf(urls, { isTrusting: true, webhooks: { proxy: proxy.url } });
  expect(good).toMatchObject({ status: 200, error: null });
  expect(other).toMatchObject({ error: 'its certificate is for another host name' });
  expect(proxy.asked).toEqual(['hooks.test:443', 'other.test:8443']);
  expect(there.requests).toEqual(['hooks.test']);
});

it('goes through no proxy of the environment that it was started in', async () => {
  let connections = 0;
  const proxy = createTcpServer((socket) => {
    connections += 1;
    socket.destroy();
  });
  const plain = createPlainServer((request, response) => {
    request.resume().on('end', () => response.end());
  });
  for (const server of [proxy, plain]) {
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void server.close());
  }
  const portOf = (server: { address(): unknown }): number => (server.address() as AddressInfo).port;
  const names = ['http_proxy', 'https_proxy', 'all_proxy'];
  const there = await secureReceiver();
  const answers = await answersOf(
    [`http://hooks.test:${portOf(plain)}/`, `https://hooks.test:${there.port}/`],
    {
      isTrusting: true,
      webhooks: { allowHttp: true },
      environment: {
        ...Object.fromEntries(
          names
            .flatMap((name) => [name, name.toUpperCase()])
            .map((name) => [name, `http://127.0.0.1:${portOf(proxy)}`]),
        ),
        no_proxy: '',
        NO_PROXY: '',
        // Node itself reads them then, from 22.21 and 24 on.
        NODE_USE_ENV_PROXY: '1',
      },
    },
  );
  expect(answers).toMatchObject([{ status: 200 }, { status: 200 }]);
  expect(connections).toBe(0);
});
