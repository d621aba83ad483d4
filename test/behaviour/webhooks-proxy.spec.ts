import { expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { Proxy } from '../support/proxy.js';
import { LOOPBACK, Receiver } from '../support/receiver.js';

const SECRET = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw';

@JobType({ name: 'quick' })
class Quick implements JobHandler {
  execute(): void {}
}

function boot(webhooks: object): Promise<BootedJobs> {
  return bootJobs({
    types: [Quick],
    options: { webhooks: { allowHttp: true, secret: SECRET, ...webhooks } },
  });
}

it('sends everything through the proxy, which looks names up', async () => {
  const receiver = await Receiver.open();
  const proxy = await Proxy.open(() => Number(new URL(receiver.url).port));
  const url = proxy.url.replace('://', '://ann:p%40ss@');
  const app = await boot({ proxy: url });
  const { id } = await app.jobs.enqueue(Quick, {}, { statusHook: 'http://nowhere.invalid/hook' });
  await receiver.told(id, 'job.completed');
  expect(new Set(proxy.asked)).toEqual(new Set(['nowhere.invalid:80']));
  const basic = `Basic ${Buffer.from('ann:p@ss').toString('base64')}`;
  expect(new Set(proxy.authorizations)).toEqual(new Set([basic]));
  expect(receiver.hooks[0]?.headers).not.toHaveProperty('proxy-authorization');
  const noted = app.log.texts().filter((text) => text.includes('webhooks.proxy'));
  expect(noted).toHaveLength(1);
  expect(noted[0]).not.toMatch(/ann|p@ss|p%40ss/);
});

it('goes nowhere by itself where the proxy refuses or is away', async () => {
  const receiver = await Receiver.open();
  const proxy = await Proxy.open(() => undefined);
  const app = await boot({ ...LOOPBACK, proxy: proxy.url });
  const { id } = await app.webhooks.create({ url: receiver.url });
  expect((await app.webhooks.test(id)).answer?.error).toBe(
    'the proxy refused to connect, with 403',
  );
  const away = await boot({ ...LOOPBACK, proxy: 'http://127.0.0.1:1' });
  const other = await away.webhooks.create({ url: receiver.url });
  expect((await away.webhooks.test(other.id)).answer?.error).toBe('the proxy could not be reached');
  expect(receiver.hooks).toHaveLength(0);
});

it('judges addresses and ports before the proxy is asked', async () => {
  const proxy = await Proxy.open(() => undefined);
  const app = await boot({ allowAddresses: ['10.1.0.0/16'], proxy: proxy.url });
  await expect(app.webhooks.create({ url: 'http://10.2.0.1/' })).rejects.toThrow(/private/);
  const { id } = await app.webhooks.create({ url: 'http://example.com:22/' });
  expect((await app.webhooks.test(id)).answer?.error).toMatch(/port 22/);
  expect(proxy.asked).toEqual([]);
});
