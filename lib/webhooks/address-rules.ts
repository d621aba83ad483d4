import { BlockList, isIP, isIPv4 } from 'node:net';
import { JobsError } from '../model/errors.js';

/** Ranges of IPv4 that are not the public internet, or are a cloud's own services. */
const REFUSED_V4: readonly (readonly [network: string, prefix: number])[] = [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  // Shared by carriers; 100.100.100.200 tells secrets of machines at Alibaba.
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.31.196.0', 24],
  ['192.52.193.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['192.175.48.0', 24],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  // Azure's own services, by an address like any other.
  ['168.63.129.16', 32],
];

/** Within 2000::/3, outside of which nothing is public: what is not, or has an IPv4 address in it. */
const REFUSED_V6: readonly (readonly [network: string, prefix: number])[] = [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['2620:4f:8000::', 48],
  ['3fff::', 20],
];

const PUBLIC_V6: readonly (readonly [network: string, prefix: number])[] = [['2000::', 3]];

const refused4 = blockList(REFUSED_V4, 'ipv4');
const refused6 = blockList(REFUSED_V6, 'ipv6');
const public6 = blockList(PUBLIC_V6, 'ipv6');

/** Which addresses requests may go to: the public internet, and what the options name. */
export class AddressRules {
  readonly #allowed: BlockList;
  /** Whether the options name any. */
  readonly hasExceptions: boolean;

  /** @throws JobsError `invalid_options` for what is no address and no CIDR */
  constructor(allowAddresses: readonly string[] = []) {
    this.#allowed = new BlockList();
    this.hasExceptions = allowAddresses.length > 0;
    for (const cidr of allowAddresses) {
      addCidr(this.#allowed, cidr);
    }
  }

  /** Whether the options name this address. */
  isException(address: string): boolean {
    const bare = unbracketed(address);
    return isIP(bare) !== 0 && this.#allowed.check(bare, isIPv4(bare) ? 'ipv4' : 'ipv6');
  }

  isAllowed(address: string): boolean {
    const bare = unbracketed(address);
    return this.isException(bare) || isPublic(bare);
  }
}

/** Whether an address is one of the public internet; false for what is no address. */
export function isPublic(address: string): boolean {
  switch (isIP(address)) {
    case 4:
      return !refused4.check(address, 'ipv4');
    case 6:
      return (
        !address.includes('%') &&
        public6.check(address, 'ipv6') &&
        !refused6.check(address, 'ipv6') &&
        !isIsatap(address)
      );
    default:
      return false;
  }
}

/** A URL keeps the brackets of an IPv6 address in its host name. */
export function unbracketed(host: string): string {
  return host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
}

/** An interface id that carries an IPv4 address, in any network. */
function isIsatap(address: string): boolean {
  const groups = groupsOf(address);
  return (groups[4] === 0 || groups[4] === 0x0200) && groups[5] === 0x5efe;
}

/** The eight groups of an IPv6 address, as a URL writes it. */
function groupsOf(address: string): readonly number[] {
  const url = new URL(`http://[${address}]/`);
  const [head = '', tail] = unbracketed(url.hostname).split('::');
  const numbers = (part: string): number[] =>
    part === '' ? [] : part.split(':').map((group) => Number.parseInt(group, 16));
  const first = numbers(head);
  const last = numbers(tail ?? '');
  const zeros = Array.from({ length: 8 - first.length - last.length }, () => 0);
  return [...first, ...zeros, ...last];
}

function blockList(
  ranges: readonly (readonly [network: string, prefix: number])[],
  family: 'ipv4' | 'ipv6',
): BlockList {
  const list = new BlockList();
  for (const [network, prefix] of ranges) {
    list.addSubnet(network, prefix, family);
  }
  return list;
}

function addCidr(list: BlockList, cidr: unknown): void {
  const [network = '', prefix, ...rest] = typeof cidr === 'string' ? cidr.split('/') : [];
  const version = isIP(network);
  const most = version === 4 ? 32 : 128;
  const length = prefix === undefined ? most : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
  if (version === 0 || rest.length > 0 || length < 0 || length > most) {
    throw new JobsError(
      'invalid_options',
      `webhooks.allowAddresses has ${JSON.stringify(cidr)}: use addresses or ranges such as '10.1.0.0/16' or 'fd00::/8'.`,
    );
  }
  list.addSubnet(network, length, version === 4 ? 'ipv4' : 'ipv6');
}
