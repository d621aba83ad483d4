import { isIP } from 'node:net';
import { JobsError } from '../model/errors.js';
import { type AddressRules, unbracketed } from './address-rules.js';
import { type AllowedHosts, isAmong } from './host-rules.js';

/** Ports that anybody may name; an address that the options allow may be asked at any port. */
export const PORTS: ReadonlySet<number> = new Set([443, 80, 8443]);

const LONGEST_URL = 2048;

/** What decides whether a URL may be sent to. */
export interface UrlRules {
  readonly allowHttp: boolean;
  readonly addresses: AddressRules;
  readonly hostsOf?: AllowedHosts;
}

/**
 * A URL that webhooks may be sent to. Its host is judged as parsed, never as written: `127.1` is
 * `127.0.0.1`. What a name leads to is judged when it is connected to. Without a tenant it is the options' own.
 *
 * @throws JobsError `invalid_request` that names the field and says what to write instead; `try_later` where
 * webhooks.allowHosts does not say what may be named
 */
export function checkedUrl(text: unknown, field: string, rules: UrlRules, tenantId?: string): URL {
  const problem = (message: string): JobsError =>
    new JobsError('invalid_request', `${field} ${message}.`, { errors: [{ field, message }] });
  if (typeof text !== 'string' || text === '') {
    throw problem('must be a URL such as "https://example.com/hooks"');
  }
  if (text.length > LONGEST_URL) {
    throw problem(`must have at most ${LONGEST_URL} characters`);
  }
  if (!URL.canParse(text) || hasControl(text)) {
    throw problem('is no URL: write one such as "https://example.com/hooks"');
  }
  const url = new URL(text);
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && rules.allowHttp)) {
    throw problem(
      rules.allowHttp
        ? 'must begin with https:// or http://'
        : 'must begin with https:// (the option webhooks.allowHttp also allows http)',
    );
  }
  if (url.username !== '' || url.password !== '') {
    throw problem('must not have a user name or password: receivers check the signature instead');
  }
  if (url.hash !== '') {
    throw problem('must not have a fragment (#): it is never sent');
  }
  if (!isAsciiHost(text, url)) {
    throw problem('must have a host in ASCII: write international names as xn--…');
  }
  const hosts = tenantId === undefined ? undefined : rules.hostsOf?.(tenantId);
  if (hosts !== undefined && !isAmong(url.hostname, hosts)) {
    throw problem('must have a host that its tenant may name (the option webhooks.allowHosts)');
  }
  const host = unbracketed(url.hostname);
  if (isIP(host) !== 0 && !rules.addresses.isAllowed(host)) {
    throw problem(
      'must not lead to a private or reserved address (the option webhooks.allowAddresses makes exceptions)',
    );
  }
  if (!mayUsePort(url, rules)) {
    throw problem(
      `must have one of the ports ${[...PORTS].join(', ')} (addresses of the option webhooks.allowAddresses may have any)`,
    );
  }
  return url;
}

/** The port that a URL leads to. */
export function portOf(url: URL): number {
  return url.port === '' ? (url.protocol === 'https:' ? 443 : 80) : Number(url.port);
}

function mayUsePort(url: URL, { addresses }: UrlRules): boolean {
  const host = unbracketed(url.hostname);
  return (
    PORTS.has(portOf(url)) ||
    // A name is judged with the address that it leads to.
    (isIP(host) === 0 ? addresses.hasExceptions : addresses.isException(host))
  );
}

/** The URL parser folds what only looks like ASCII; whoever writes that wants to get past somebody. */
function isAsciiHost(text: string, url: URL): boolean {
  const authority = /^[a-z]+:[\\/]*([^\\/?#]*)/i.exec(text)?.[1] ?? '';
  return /^[\x21-\x7e]+$/.test(authority) && url.hostname !== '';
}

/** Controls and blanks, which the URL parser drops in silence. */
function hasControl(text: string): boolean {
  // oxlint-disable-next-line no-control-regex -- that is what is looked for
  return /[\u0000-\u0020\u007f]/.test(text);
}
