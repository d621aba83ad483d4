import { Webhook } from 'standardwebhooks';
import { describe, expect, it } from 'vitest';
import { JobType, type JobHandler, type WebhookDelivery } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import type { TestDatabase } from '../support/databases.js';
import { LOOPBACK, Receiver } from '../support/receiver.js';
import { refusal } from '../support/refusals.js';
import { until } from '../support/waiting.js';

const [ONE, TWO, THREE] = ['1', '2', '3'].map((digit) => digit.repeat(32)) as [
  string,
  string,
  string,
];
const secretOf = (byte: number): string => `whsec_${Buffer.alloc(24, byte).toString('base64')}`;

@JobType({ name: 'quick' })
class Quick implements JobHandler {
  execute(): void {}
}

function boot(webhooks: object, database?: TestDatabase): Promise<BootedJobs> {
  return bootJobs({
    types: [Quick],
    options: { webhooks: { ...LOOPBACK, retry: ['1s'], ...webhooks } },
    ...(database === undefined ? {} : { database }),
  });
}

async function sealed(app: BootedJobs): Promise<string> {
  const rows = await app.sql<{ secrets: string }>('SELECT secrets FROM job_webhooks');
  return rows[0]?.secrets ?? '';
}

/** A process with those options comes and goes; what older keys have encrypted it encrypts anew. */
async function renewedBy(webhooks: object, before: BootedJobs): Promise<BootedJobs> {
  const old = await sealed(before);
  await before.close();
  const app = await boot(webhooks, before.database);
  await until(async () => (await sealed(app)) !== old, 'the secret to be encrypted anew');
  return app;
}

async function isSigned(app: BootedJobs, receiver: Receiver, secret: string): Promise<void> {
  const job = await app.run(Quick);
  const { body, headers } = await receiver.told(job.id, 'job.completed');
  new Webhook(secret).verify(body, headers as Record<string, string>);
}

describe('secrets of endpoints', () => {
  it('outlive the key that encrypted them, when the next one came before it', async () => {
    const receiver = await Receiver.open();
    const first = await boot({ encryptionKey: ONE });
    const { secret = '' } = await first.webhooks.create({ url: receiver.url });
    const second = await renewedBy({ encryptionKey: [TWO, ONE] }, first);
    await second.close();
    const third = await boot({ encryptionKey: async () => [TWO] }, first.database);
    await isSigned(third, receiver, secret);
    // A process with several that finds nothing to do leaves them alone.
    const before = await sealed(third);
    const fourth = await boot({ encryptionKey: [TWO, THREE] }, first.database);
    await isSigned(fourth, receiver, secret);
    expect(await sealed(third)).toBe(before);
  });

  it('outlive webhooks.secret, which encrypts them where there is no key', async () => {
    const receiver = await Receiver.open();
    const first = await boot({});
    const { secret = '' } = await first.webhooks.create({ url: receiver.url });
    const second = await renewedBy({ secret: secretOf(1) }, first);
    const third = await renewedBy({ secret: [secretOf(2), secretOf(1)] }, second);
    await third.close();
    const last = await boot({ secret: secretOf(2) }, first.database);
    await isSigned(last, receiver, secret);
  });

  it('that cannot be read cost no try and say what to do, and are sent when the key is back', async () => {
    const receiver = await Receiver.open();
    const first = await boot({ encryptionKey: ONE });
    const { id, secret = '' } = await first.webhooks.create({
      url: receiver.url,
      events: ['job.completed'],
    });
    await first.close();
    const blind = await boot({ encryptionKey: TWO }, first.database);
    const jobs = [await blind.run(Quick), await blind.run(Quick)];
    const noted = async (): Promise<readonly WebhookDelivery[] | false> => {
      const found = await blind.webhooks.deliveries(id);
      return found.length === 2 && found.some(({ answer }) => answer !== null) && found;
    };
    const deliveries = await until(noted, 'the reason to be noted');
    for (const each of deliveries) {
      expect(each).toMatchObject({ status: 'pending', attempts: 0 });
    }
    const errors = deliveries.flatMap(({ answer }) => answer?.error ?? []);
    expect(errors[0]).toMatch(/cannot be read.*encryptionKey.*rotate_secret/);
    const said = blind.log.texts().filter((text) => text.includes(id));
    expect(said).toHaveLength(1);
    expect(said[0]).toMatch(/webhooks.encryptionKey.*rotate_secret/);
    expect(receiver.hooks).toHaveLength(0);
    await expect(blind.webhooks.test(id)).rejects.toMatchObject({ code: 'try_later' });

    const seeing = await boot({ encryptionKey: [TWO, ONE] }, first.database);
    for (const job of jobs) {
      const { body, headers } = await receiver.told(job.id, 'job.completed');
      new Webhook(secret).verify(body, headers as Record<string, string>);
    }
    await until(
      async () =>
        (await seeing.webhooks.deliveries(id)).every(
          ({ status, attempts }) => status === 'delivered' && attempts === 1,
        ),
      'both to be noted',
    );
  });

  it('wait for a key service that is away', async () => {
    const receiver = await Receiver.open();
    const first = await boot({ encryptionKey: ONE });
    const { id } = await first.webhooks.create({ url: receiver.url });
    await first.close();
    const away = await boot(
      { encryptionKey: () => Promise.reject(new Error('the service is away')) },
      first.database,
    );
    await away.run(Quick);
    await until(
      async () => (await away.webhooks.deliveries(id)).some(({ answer }) => answer !== null),
      'the reason to be noted',
    );
    expect(away.log.texts().filter((text) => text.includes('the service is away'))).toHaveLength(1);
    const deliveries = await away.webhooks.deliveries(id);
    expect(deliveries.map(({ attempts }) => attempts)).toEqual([0, 0, 0]);
  });

  it('are neither made nor changed while a key service is away, and callers hear nothing of it', async () => {
    let isAway = false;
    const service = async (): Promise<string> => {
      if (isAway) {
        throw new Error('no route to 10.1.2.3');
      }
      return ONE;
    };
    const first = await boot({ encryptionKey: service });
    const { id } = await first.webhooks.create({ url: 'https://example.com/' });
    await first.close();
    isAway = true;
    const away = await boot({ encryptionKey: service }, first.database);
    for (const refused of [
      away.webhooks.create({ url: 'https://example.com/other' }),
      away.webhooks.update(id, { rotateSecret: true, isEnabled: false }),
    ]) {
      const error = await refusal(refused);
      expect(error).toMatchObject({ code: 'try_later', retryAfterSec: 30 });
      expect(error.message).toContain('webhooks.encryptionKey');
      expect(error.message).not.toContain('10.1.2.3');
    }
    expect(away.log.texts().filter((text) => text.includes('10.1.2.3'))).toHaveLength(1);
    expect(await away.webhooks.list()).toMatchObject([{ id, isEnabled: true }]);
    isAway = false;
    expect((await away.webhooks.update(id, { rotateSecret: true })).secret).toMatch(/^whsec_/);
  });

  it('that cannot be read are not replaced while the endpoint is sent to', async () => {
    const receiver = await Receiver.open();
    const first = await boot({ encryptionKey: ONE });
    const { id } = await first.webhooks.create({ url: receiver.url });
    const before = await sealed(first);
    await first.close();
    const blind = await boot({ encryptionKey: TWO }, first.database);
    const error = await refusal(blind.webhooks.update(id, { rotateSecret: true }));
    expect(error.code).toBe('try_later');
    expect(error.message).toMatch(
      /webhooks.encryptionKey.*disable the endpoint with the same change/,
    );
    expect(await sealed(blind)).toBe(before);
    const change = { rotateSecret: true, isEnabled: false } as const;
    const { secret = '' } = await blind.webhooks.update(id, change);
    await blind.webhooks.update(id, { isEnabled: true });
    await isSigned(blind, receiver, secret);
  });
});
