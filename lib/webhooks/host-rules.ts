import { JobsError } from '../model/errors.js';
import { unbracketed } from './address-rules.js';

/** The hosts that a tenant may name, or undefined where it may name any. */
export type AllowedHosts = (tenantId: string) => readonly string[] | undefined;

/** A host, or `*.` and a domain whose hosts are meant, at any depth. */
const PATTERN = /^(\*\.)?[a-z0-9:]([a-z0-9.:-]*[a-z0-9:])?$/;

/** @throws JobsError `invalid_options` for what is no list of hosts */
export function checkedHosts(given: unknown): readonly string[] {
  if (!Array.isArray(given)) {
    throw wrong(given);
  }
  return given.map((each: unknown) => {
    const host = typeof each === 'string' ? unbracketed(each.toLowerCase()) : '';
    if (!PATTERN.test(host)) {
      throw wrong(each);
    }
    return host;
  });
}

/** Whether a host, as a URL has it, is one of these. */
export function isAmong(host: string, allowed: readonly string[]): boolean {
  const bare = unbracketed(host).replace(/\.$/, '');
  return allowed.some((each) =>
    each.startsWith('*.') ? bare.endsWith(each.slice(1)) : bare === each,
  );
}

function wrong(given: unknown): JobsError {
  return new JobsError(
    'invalid_options',
    `webhooks.allowHosts has ${JSON.stringify(given)}: use hosts such as 'hooks.example.com' or '*.example.com', or a function of the tenant's id that gives such a list.`,
  );
}
