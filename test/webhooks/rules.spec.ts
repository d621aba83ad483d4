import fc from 'fast-check';
import { createRequire } from 'node:module';
import { expect, it } from 'vitest';
import { AddressRules, isPublic, unbracketed } from '../../lib/webhooks/address-rules.js';
import { checkedUrl } from '../../lib/webhooks/url-rules.js';
import { thrownBy } from '../support/refusals.js';

// A library for addresses, which knows ranges of its own: an oracle that shares no line with ours.
interface Parsed {
  kind(): 'ipv4' | 'ipv6';
  range(): string;
}
const oracle = createRequire(import.meta.url)('ipaddr.js') as { parse(text: string): Parsed };

const closed = { allowHttp: false, addresses: new AddressRules() };
const open = { allowHttp: true, addresses: new AddressRules(['127.0.0.0/8', 'fd00::/8']) };

/** What must never be reached, however it is written. */
const inward = [
  '127.1',
  '0x7f.1',
  '017700000001',
  '2130706433',
  '127.0.0.1.',
  '[::1]',
  '[::]',
  '[::ffff:127.0.0.1]',
  '[::127.0.0.1]',
  '[::ffff:0:127.0.0.1]',
  '[64:ff9b::7f00:1]',
  '[64:ff9b:1::a9fe:a9fe]',
  '[2002:7f00:1::]',
  '[2001:0:7f00:1::]',
  '[2a00:1450::5efe:127.0.0.1]',
  '[2a00:1450::200:5efe:7f00:1]',
  '[fe80::1]',
  '[fd00::1]',
  '[ff02::1]',
  '[2001:db8::1]',
  '[3fff::1]',
  '168.63.129.16',
  '100.100.100.200',
  '169.254.169.254',
  '198.18.0.1',
  '192.0.0.192',
  '192.168.0.1',
  '172.16.0.1',
  '10.0.0.1',
  '0.0.0.0',
  '224.0.0.1',
  '255.255.255.255',
];

it.each(inward)('does not take %s for an address of the internet', (host) => {
  expect(thrownBy(() => checkedUrl(`https://${host}/hook`, 'url', closed)).code).toBe(
    'invalid_request',
  );
});

it.each([
  ['http://example.com/', /begin with https/],
  ['ftp://example.com/', /begin with https/],
  ['file:///etc/passwd', /begin with https/],
  ['https://user:pw@example.com/', /user name or password/],
  ['https://example.com@127.0.0.1/', /user name or password/],
  ['https://example.com:22/', /ports 443, 80, 8443/],
  ['https://exämple.com/', /ASCII/],
  ['https://１２７.0.0.1/', /ASCII/],
  ['https://example.com/#part', /fragment/],
  ['https://example.com/a b', /no URL/],
  ['https://exa\nmple.com/', /no URL/],
  [`https://example.com/${'a'.repeat(2048)}`, /2048 characters/],
  ['example.com', /no URL/],
  ['', /must be a URL/],
  [17, /must be a URL/],
])('refuses %s and says what to write instead', (url, message) => {
  const error = thrownBy(() => checkedUrl(url, 'status_hook', closed));
  expect(error.code).toBe('invalid_request');
  expect(error.message).toMatch(message);
  expect(error.errors?.[0]?.field).toBe('status_hook');
});

it('takes what is public, on the ports that are usual', () => {
  for (const url of [
    'https://example.com/hooks?a=1',
    'https://example.com:8443/',
    'https://xn--exmple-cua.com/',
    'https://8.8.8.8/',
    'https://[2a00:1450:4001::1]/',
  ]) {
    expect(checkedUrl(url, 'url', closed).href).toBe(url);
  }
});

it('takes an address that the options name at any port, and nothing beside it', () => {
  expect(checkedUrl('http://127.0.0.1:4711/', 'url', open).port).toBe('4711');
  expect(checkedUrl('http://[fd00::5]:4711/', 'url', open).port).toBe('4711');
  expect(thrownBy(() => checkedUrl('http://10.0.0.1/', 'url', open)).code).toBe('invalid_request');
  expect(thrownBy(() => checkedUrl('http://8.8.8.8:4711/', 'url', open)).code).toBe(
    'invalid_request',
  );
  // The same address, as IPv6 writes it.
  expect(checkedUrl('http://[::ffff:127.0.0.1]/', 'url', open).port).toBe('');
});

it.each(['10.0.0.0/33', 'fd00::/129', 'localhost', '10.0.0.0/8/8', '10.0.0.0/', 17])(
  'refuses %s in allowAddresses',
  (cidr) => {
    expect(thrownBy(() => new AddressRules([cidr as string])).code).toBe('invalid_options');
  },
);

it('lets through no address that another library calls anything but unicast', () => {
  const v4 = fc.ipV4();
  // Beside all of IPv6 also its prefixes that carry something, which chance alone never meets.
  const prefix = fc.constantFrom('', '2001:', '2001:db8:', '2002:', '3fff:', '64:ff9b:', 'fe80:');
  const v6 = fc
    .tuple(prefix, fc.array(fc.integer({ min: 0, max: 65_535 }), { minLength: 8 }))
    .map(([start, groups]) => {
      const given = start.split(':').filter((part) => part !== '');
      const rest = groups.map((group) => group.toString(16)).slice(0, 8 - given.length);
      return [...given, ...rest].join(':');
    });
  let passed = 0;
  fc.assert(
    fc.property(fc.oneof(v4, v6), (address) => {
      if (isPublic(unbracketed(address))) {
        passed += 1;
        expect(oracle.parse(address).range()).toBe('unicast');
      }
    }),
    { numRuns: 10_000 },
  );
  expect(passed).toBeGreaterThan(1000);
});

it('lets through what another library calls unicast, but for what is left out on purpose', () => {
  const onPurpose = (address: string): boolean =>
    address === '168.63.129.16' ||
    address.includes('5efe') ||
    (address.includes(':') && !/^[23][0-9a-f]{3}:/i.test(address));
  fc.assert(
    fc.property(fc.oneof(fc.ipV4(), fc.ipV6()), (address) => {
      const range = oracle.parse(address).range();
      if (range === 'unicast' && !onPurpose(address)) {
        const isNoted = /^(2001:[01]?[0-9a-f]{0,2}:|2620:4f:8000|3fff:)/i.test(address);
        expect(isPublic(address) || isNoted, address).toBe(true);
      }
    }),
    { numRuns: 10_000 },
  );
});
