import { Webhook } from 'standardwebhooks';
import { expect, it } from 'vitest';
import { checkedSecret, newSecret, sign } from '../../lib/webhooks/signing.js';
import { thrownBy } from '../support/refusals.js';

it('signs as the published vector of Standard Webhooks does', () => {
  const headers = sign(
    {
      id: 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      timestampSec: 1614265330,
      body: '{"test": 2432232314}',
    },
    ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
  );
  expect(headers).toEqual({
    'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
    'webhook-timestamp': '1614265330',
    'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
  });
});

it('signs with the old secret and the new one, and either verifies with the reference library', () => {
  const [old, next] = [newSecret(), newSecret()];
  const body = JSON.stringify({ type: 'job.completed', text: 'Grüße, 日本 \u2028' });
  const headers = sign({ id: 'one', timestampSec: Math.floor(Date.now() / 1000), body }, [
    next,
    old,
  ]);
  for (const secret of [old, next]) {
    expect(new Webhook(secret).verify(body, { ...headers })).toEqual(JSON.parse(body));
  }
  expect(() => new Webhook(newSecret()).verify(body, { ...headers })).toThrow();
  expect(() => new Webhook(next).verify(`${body} `, { ...headers })).toThrow();
});

it('makes secrets that differ and that it takes', () => {
  const secrets = Array.from({ length: 100 }, newSecret);
  expect(new Set(secrets).size).toBe(100);
  expect(secrets.map((secret) => checkedSecret(secret, 'secret'))).toEqual(secrets);
});

it.each([
  '',
  'whsec_',
  'secret',
  `whsec_${'a'.repeat(28)}`,
  `whsec_${'A'.repeat(100)}`,
  'whsec_!',
  7,
])('refuses %s for a secret', (secret) => {
  expect(thrownBy(() => checkedSecret(secret, 'secret')).code).toBe('invalid_request');
});
