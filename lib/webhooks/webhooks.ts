import type { Duty } from '../engine/loop.js';
import type { HookSender } from '../engine/hook-sender.js';
import type { JobWebhookEntity } from '../entities/job-webhook.entity.js';
import { JobsError } from '../model/errors.js';
import {
  HOOK_LANE,
  STATUS_HOOK,
  type TakenDelivery,
  type WebhookStore,
} from '../store/webhooks.js';
import { AddressRules } from './address-rules.js';
import { Deliverer } from './deliverer.js';
import { EndpointSecrets } from './endpoint-secrets.js';
import { Endpoints } from './endpoints.js';
import { askedHosts } from './host-rules.js';
import { DECLARED_PREFIX, type ResolvedWebhooks } from './options.js';
import { SecretBox } from './secret-box.js';
import { Sender } from './sender.js';
import { newSecret } from './signing.js';
import { Slots } from './slots.js';
import { checkedUrl, type UrlRules } from './url-rules.js';

/** Between looks that nothing gave rise to: what is on its way is seen with the marks of the queues. */
const UNASKED_MS = 60_000;
/** How often a process says what its options declare; what none has said for so long is disabled. */
const DECLARED_MS = 3_600_000;
const DECLARATION_KEPT_MS = 86_400_000;
const OWN_KEY = 'webhook secrets';

/** What webhooks need of the application. */
export interface WebhooksSources {
  readonly store: WebhookStore;
  readonly options: ResolvedWebhooks;
  readonly version: string;
  readonly random?: () => number;
  nowMs(): number;
  log(text: string): void;
  readonly warn: (text: string) => void;
}

/** Tells receivers over HTTP what happens to jobs. */
export class Webhooks implements HookSender {
  readonly endpoints: Endpoints;
  readonly duty: Duty;
  readonly #sources: WebhooksSources;
  readonly #rules: UrlRules;
  readonly #secrets: EndpointSecrets;
  readonly #sender: Sender;
  readonly #deliverer: Deliverer;
  readonly #declared: ReadonlyMap<string, readonly string[]>;
  /** By the monotonic clock. */
  #declaredAt = -Infinity;
  #wake: () => void = () => undefined;
  #refresh: () => Promise<void> = () => Promise.resolve();

  constructor(sources: WebhooksSources) {
    const { store, options, version, random = Math.random } = sources;
    this.#sources = sources;
    this.#rules = {
      allowHttp: options.allowHttp,
      addresses: new AddressRules(options.allowAddresses),
      hostsOf: askedHosts(options.hostsOf, sources.warn),
    };
    const box = new SecretBox(
      () => this.#keys(),
      (error) =>
        sources.warn(
          `webhooks.encryptionKey gave no key: ${String(error)}. Until it does, secrets of webhook endpoints can be neither made nor read, and what is for those endpoints waits.`,
        ),
    );
    this.#sender = new Sender({
      rules: this.#rules,
      userAgent: `nestjs-jobs/${version}`,
      proxy: options.proxy,
    });
    this.#declared = new Map(options.endpoints?.map(({ id, secrets }) => [id, secrets]));
    const slots = new Slots();
    const nowMs = (): number => sources.nowMs();
    this.#secrets = new EndpointSecrets({ store, box, nowMs, warn: sources.warn });
    const { retryMs, hideAnswers, overlapMs, maxEndpoints } = options;
    this.#deliverer = new Deliverer({
      store,
      sender: this.#sender,
      slots,
      retryMs,
      hideAnswers,
      random,
      nowMs,
      serves: (lane) =>
        lane.startsWith(HOOK_LANE)
          ? options.secrets.length > 0
          : !lane.startsWith(DECLARED_PREFIX) || this.#declared.has(lane),
      secretsOf: (taken) => this.#secretsOf(taken),
      refresh: () => this.#refresh(),
      warn: (text) => sources.warn(text),
    });
    this.endpoints = new Endpoints({
      store,
      rules: this.#rules,
      box,
      sender: this.#sender,
      slots,
      overlapMs,
      maxEndpoints,
      hideAnswers,
      nowMs,
      declares: (id) => this.#declared.has(id),
      secretsOf: ({ id, secrets }: JobWebhookEntity) => this.#secretsOf({ target: id, secrets }),
      refresh: () => this.#refresh(),
      wake: () => this.#wake(),
    });
    this.duty = {
      name: 'webhooks',
      everyMs: UNASKED_MS,
      runOnce: async () => {
        if (performance.now() - this.#declaredAt > DECLARED_MS) {
          await this.#declare();
        }
        return this.#deliverer.runOnce();
      },
    };
  }

  checkedHook(url: unknown, field: string, tenantId: string): string {
    if (this.#sources.options.secrets.length === 0) {
      const message = 'needs the option webhooks.secret, which signs what is sent to it';
      throw new JobsError('invalid_request', `${field} ${message}.`, {
        errors: [{ field, message }],
      });
    }
    return checkedUrl(url, field, this.#rules, tenantId).href;
  }

  async opened(): Promise<void> {
    const { options } = this.#sources;
    if (options.allowAddresses.length > 0) {
      this.#sources.log(
        `Webhooks may also be sent to ${options.allowAddresses.join(', ')} (webhooks.allowAddresses).`,
      );
    }
    // Nobody waits for it; what it does not come to is done as it is used.
    this.#secrets.renewAll().catch(() => undefined);
    if (options.proxy !== undefined) {
      this.#sources.log(`Webhooks are sent through ${options.proxy.host} (webhooks.proxy).`);
    }
    await this.#declare();
  }

  onMore(wake: () => void): void {
    this.#wake = wake;
    this.#deliverer.onMore(wake);
  }

  /** How this process is made to see at once who hears what. */
  onRefresh(refresh: () => Promise<void>): void {
    this.#refresh = refresh;
  }

  async stop(): Promise<void> {
    this.#secrets.stop();
    await this.#deliverer.stop();
  }

  /**
   * Says what the options declare, again and again: while old and new code run side by side each has its
   * own, and what nobody declares any more is given up when none has for long.
   */
  async #declare(): Promise<void> {
    const { store, options, warn } = this.#sources;
    const endpoints = options.endpoints ?? [];
    this.#declaredAt = performance.now();
    if (
      endpoints.length === 0 &&
      !(await store.list(undefined)).some((each) => each.isDeclared === 1 && each.isEnabled === 1)
    ) {
      return;
    }
    const gone = await store.declare(
      endpoints.map(({ id, url, events }) => ({
        id,
        url,
        events: events === null ? null : JSON.stringify(events),
      })),
      DECLARATION_KEPT_MS,
    );
    if (gone.length > 0) {
      warn(
        `Webhook endpoints ${gone.join(', ')} were disabled: the options of no process have declared them for a day. Delete them (DELETE /webhooks/:id), or declare them again.`,
      );
      await this.#refresh();
    }
  }

  /** The secrets that sign now, the newest first. */
  async #secretsOf({
    target,
    secrets,
  }: Pick<TakenDelivery, 'target' | 'secrets'>): Promise<readonly string[] | undefined> {
    if (target === STATUS_HOOK) {
      return this.#sources.options.secrets;
    }
    if (secrets === null) {
      return this.#declared.get(target);
    }
    return this.#secrets.of(target, secrets);
  }

  /** The host's keys; else one that follows from its secret; else one beside what it encrypts. */
  async #keys(): Promise<readonly string[]> {
    const { store, options, warn } = this.#sources;
    const keys = [...(await options.encryptionKeys()), ...options.secrets];
    if (keys.length === 0) {
      warn(
        'Secrets of webhook endpoints are encrypted with a key that lies in the same database: give the option webhooks.encryptionKey to keep both apart.',
      );
    }
    const own = await store.key(OWN_KEY, newSecret());
    return [...keys, own];
  }
}
