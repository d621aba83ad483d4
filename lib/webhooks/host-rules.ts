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

/** After so long a caller may try again. */
const ASK_AGAIN_SEC = 30;
/** Between two complaints that the host's function does not say which hosts a tenant may name. */
const COMPLAIN_MS = 60_000;

/**
 * A function of the host may throw: then nobody knows, and what it threw is for the log only.
 *
 * @returns a function that throws JobsError `try_later`
 */
export function askedHosts(hostsOf: AllowedHosts, warn: (text: string) => void): AllowedHosts {
  let saidAt = -Infinity;
  return (tenantId) => {
    try {
      return hostsOf(tenantId);
    } catch (error) {
      if (performance.now() - saidAt > COMPLAIN_MS) {
        saidAt = performance.now();
        warn(
          `webhooks.allowHosts did not say which hosts tenant ${tenantId} may name, so nothing is sent for it until it does: ${String(error)}`,
        );
      }
      throw new JobsError(
        'try_later',
        'It is not known now which hosts may be named (the option webhooks.allowHosts). Ask again shortly.',
        { cause: error, retryAfterSec: ASK_AGAIN_SEC },
      );
    }
  };
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
