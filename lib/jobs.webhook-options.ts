import { createHash } from 'node:crypto';
import { checkKeys, count, flag, invalid, list } from './jobs.option-checks.js';
import type { WebhooksOptions } from './jobs.options.js';
import { durationMs } from './model/duration.js';
import { isJobsError, JobsError } from './model/errors.js';
import type { WebhookEvent } from './model/webhook.js';
import { AddressRules } from './webhooks/address-rules.js';
import { eventsText } from './webhooks/endpoints.js';
import { checkedHosts, type AllowedHosts } from './webhooks/host-rules.js';
import {
  DECLARED_PREFIX,
  type DeclaredEndpoint,
  type ResolvedWebhooks,
} from './webhooks/options.js';
import { DEFAULT_RETRY } from './webhooks/retry-schedule.js';
import { checkedSecret } from './webhooks/signing.js';
import { checkedUrl, type UrlRules } from './webhooks/url-rules.js';

const LEAST_KEY = 32;
const MOST_TRIES = 50;
const MOST_ENDPOINTS = 100;

/** @throws JobsError `invalid_options` that names the key and the fix */
export function resolveWebhooks(given: WebhooksOptions): ResolvedWebhooks {
  checkKeys('webhooks', given);
  const allowHttp = flag(given.allowHttp ?? false, 'webhooks.allowHttp');
  const allowAddresses = list(given.allowAddresses, 'webhooks.allowAddresses') as string[];
  const hostsOf = hostsOfOption(given.allowHosts);
  const rules = { allowHttp, addresses: new AddressRules(allowAddresses), hostsOf };
  const retry = list(given.retry ?? DEFAULT_RETRY, 'webhooks.retry');
  if (retry.length > MOST_TRIES) {
    throw invalid(`webhooks.retry has ${retry.length} waits: use at most ${MOST_TRIES}.`);
  }
  return {
    endpoints:
      given.endpoints === undefined
        ? undefined
        : endpointsOf(list(given.endpoints, 'webhooks.endpoints'), rules),
    secrets: given.secret === undefined ? [] : secretsOf(given.secret, 'webhooks.secret'),
    encryptionKeys: encryptionKeysOf(given.encryptionKey),
    overlapMs: durationMs(given.overlap ?? '24h', 'webhooks.overlap', 'invalid_options'),
    allowHttp,
    allowAddresses,
    proxy: proxyOf(given.proxy),
    hostsOf,
    maxEndpoints: count(given.maxEndpoints ?? MOST_ENDPOINTS, 'webhooks.maxEndpoints'),
    retryMs: retry.map((wait, index) =>
      durationMs(wait as string, `webhooks.retry.${index}`, 'invalid_options'),
    ),
    hideAnswers: flag(given.hideAnswers ?? false, 'webhooks.hideAnswers'),
  };
}

function endpointsOf(given: readonly unknown[], rules: UrlRules): readonly DeclaredEndpoint[] {
  const endpoints = given.map((each, index) =>
    endpointOf(each, `webhooks.endpoints.${index}`, rules),
  );
  endpoints.forEach(({ id, url }, index) => {
    const first = endpoints.findIndex((each) => each.id === id);
    if (first !== index) {
      throw invalid(
        `webhooks.endpoints.${index}.url is the same as that of webhooks.endpoints.${first}, ${url}: an endpoint is known by its URL. Give one of them the events of both, or tell the URLs apart by a query.`,
      );
    }
  });
  return endpoints;
}

function endpointOf(given: unknown, where: string, rules: UrlRules): DeclaredEndpoint {
  if (typeof given !== 'object' || given === null) {
    throw invalid(`${where} is ${JSON.stringify(given)}: give { url, events, secret }.`);
  }
  const unknown = Object.keys(given).find((key) => !['url', 'events', 'secret'].includes(key));
  if (unknown !== undefined) {
    throw invalid(`The option "${where}.${unknown}" is unknown: use url, events, secret.`);
  }
  const { url, events, secret }: { url?: unknown; events?: unknown; secret?: unknown } = given;
  const href = asOption(() => checkedUrl(url, `${where}.url`, rules).href);
  const text = eventsText(events ?? null, 'invalid_options', `${where}.events`);
  return {
    id: idOf(href),
    url: href,
    events: text === null ? null : (JSON.parse(text) as WebhookEvent[]),
    secrets: secretsOf(secret, `${where}.secret`),
  };
}

/** The same for the same URL on every process; it cannot be taken for another endpoint's. */
function idOf(url: string): string {
  const hex = createHash('sha256').update(url).digest('hex');
  return `${DECLARED_PREFIX}${hex.slice(0, 4)}-8${hex.slice(4, 7)}-8${hex.slice(7, 10)}-${hex.slice(10, 22)}`;
}

function secretsOf(given: unknown, where: string): readonly string[] {
  const secrets: readonly unknown[] = Array.isArray(given) ? given : [given];
  if (secrets.length === 0) {
    throw invalid(`${where} is empty: give a secret, or the new one and the old one.`);
  }
  return secrets.map((each) => checkedSecret(each, where, 'invalid_options'));
}

function encryptionKeysOf(given: unknown): ResolvedWebhooks['encryptionKeys'] {
  if (typeof given === 'function') {
    return async () => checkedKeys(await (given as () => unknown)());
  }
  const keys = given === undefined ? [] : checkedKeys(given);
  return () => Promise.resolve(keys);
}

function checkedKeys(given: unknown): readonly string[] {
  const keys: readonly unknown[] = Array.isArray(given) ? given : [given];
  if (
    keys.length === 0 ||
    !keys.every((key): key is string => typeof key === 'string' && key.length >= LEAST_KEY)
  ) {
    throw invalid(
      `webhooks.encryptionKey is too short: give at least ${LEAST_KEY} random characters, or a function that gives them; or several, the new one first.`,
    );
  }
  return keys;
}

function hostsOfOption(given: WebhooksOptions['allowHosts']): AllowedHosts {
  if (typeof given === 'function') {
    return (tenantId) => {
      const hosts = given(tenantId);
      return hosts === undefined ? undefined : checkedHosts(hosts);
    };
  }
  const hosts = given === undefined ? undefined : checkedHosts(given);
  return () => hosts;
}

/** Nothing of a wrong one is repeated: it may have a password. */
function proxyOf(given: unknown): URL | undefined {
  if (given === undefined) {
    return undefined;
  }
  const url = typeof given === 'string' && URL.canParse(given) ? new URL(given) : undefined;
  const isPlain = url?.pathname === '/' && url.search === '' && url.hash === '';
  if (url === undefined || !/^https?:$/.test(url.protocol) || !isPlain) {
    throw invalid('webhooks.proxy is no URL of a proxy: give one such as "http://proxy:3128".');
  }
  if (!isDecodable(url.username) || !isDecodable(url.password)) {
    throw invalid(
      'webhooks.proxy has a user or password with a "%" that encodes nothing: write it as "%25".',
    );
  }
  return url;
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

function asOption<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    throw isJobsError(error) ? new JobsError('invalid_options', error.message) : error;
  }
}
