import { isJobsError } from '../model/errors.js';
import { newId } from '../model/id.js';
import type { DeliveryEnd, DueLane, TakenDelivery, WebhookStore } from '../store/webhooks.js';
import { Counts } from './counts.js';
import { bodyOf } from './event-body.js';
import { DECLARED_PREFIX } from './options.js';
import { waitAfter } from './retry-schedule.js';
import { TOTAL_MS, type Answer, type Sender } from './sender.js';
import type { Slots } from './slots.js';

/** Of the jobs under way of one tenant, as they were: nothing more of it is taken beyond that. */
const MOST_BYTES = 8_000_000;
/** Longer than any request lasts: after it somebody else sends what a dead process held. */
const LEASE_MS = 30_000;
/** While there is something on its way, looks for what others have stored. */
const LOOK_MS = 1000;
const STOP_MS = 2000;
/** A process that cannot send to a receiver leaves what is for it to others, for so long. */
const LEFT_MS = 60_000;
const UNREADABLE =
  'its secret cannot be read, so nothing was sent: the former key has to be given beside the new one in webhooks.encryptionKey, or the endpoint be disabled and given a new secret (rotate_secret)';
const UNASKED =
  'it is not known which hosts its tenant may name (webhooks.allowHosts), so nothing was sent';

/** What a deliverer is made of. */
export interface DelivererParts {
  readonly store: WebhookStore;
  readonly sender: Sender;
  readonly slots: Slots;
  readonly retryMs: readonly number[];
  readonly hideAnswers: boolean;
  readonly random: () => number;
  /** The database's time. */
  nowMs(): number;
  /** Whether this process can sign for a lane: others may have other options. */
  readonly serves: (lane: string) => boolean;
  /** The secrets that sign for a receiver now; undefined where they cannot be read. */
  secretsOf(taken: TakenDelivery): Promise<readonly string[] | undefined>;
  /** This process looks at once who hears what. */
  refresh(): Promise<void>;
  readonly warn: (text: string) => void;
}

/**
 * Sends what is on its way. Receivers wait in lanes: each has so many requests under way and no
 * more, so that one that does not answer holds up nobody but itself. Of a job and a receiver one
 * event is sent at a time, the oldest that is not over; the database sees to that, for all processes.
 */
export class Deliverer {
  readonly #parts: DelivererParts;
  /** Lanes that this process leaves to others, until when. */
  readonly #left = new Map<string, number>();
  /** What this process sends now; of what a stop has cut off nothing is written down. */
  readonly #sent = new Map<TakenDelivery, Promise<void>>();
  readonly #cutOff: TakenDelivery[] = [];
  readonly #bytes = new Counts();
  /** Behind which lane the next look begins. */
  #after = '';
  /** When the first delivery is due of the lanes that were looked at since the first of them. */
  #nextMs = Infinity;
  /** How they ended is being stored: a stop does not give them back. */
  readonly #answered = new WeakSet<TakenDelivery>();
  #isStopped = false;
  #wake: () => void = () => undefined;

  constructor(parts: DelivererParts) {
    this.#parts = parts;
  }

  onMore(wake: () => void): void {
    this.#wake = wake;
  }

  /** Sends what is due and has room; in how many milliseconds there may be more. */
  async runOnce(): Promise<number | undefined> {
    const { store, slots, random } = this.#parts;
    if (this.#isStopped || slots.isFull) {
      return LOOK_MS;
    }
    const { lanes: found, next } = await store.lanes(this.#after);
    this.#after = next ?? '';
    const lanes = found.filter(({ lane }) => this.#serves(lane));
    const nowMs = this.#parts.nowMs();
    const due = lanes.filter(
      (each) => each.dueAtMs <= nowMs && this.#bytes.of(whoOf(each)) < MOST_BYTES,
    );
    const wanted = slots.share(
      shuffled(due, random).map((each) => ({ lane: each.lane, who: whoOf(each) })),
    );
    const until = performance.now() + LEASE_MS - TOTAL_MS;
    const taken = wanted.length === 0 ? [] : await store.take(wanted, newId(), LEASE_MS);
    for (const each of taken) {
      this.#send(each, until);
    }
    const againMs = this.#lookedAt(lanes, nowMs, next !== undefined);
    return taken.length > 0 ? 0 : againMs;
  }

  /** In how many milliseconds there may be more: where there are more lanes than one look sees, at once. */
  #lookedAt(lanes: readonly DueLane[], nowMs: number, isMore: boolean): number | undefined {
    for (const { dueAtMs } of lanes) {
      // One that is due, and of which nothing was taken, is perhaps somebody else's.
      const wantedMs = dueAtMs > nowMs ? dueAtMs : nowMs + LOOK_MS;
      this.#nextMs = Math.min(this.#nextMs, wantedMs);
    }
    if (isMore) {
      return 0;
    }
    const waitMs = this.#nextMs - nowMs;
    this.#nextMs = Infinity;
    return waitMs === Infinity ? undefined : Math.max(1, Math.min(waitMs, LOOK_MS));
  }

  /** Waits a little for what is under way. The rest is cut off, and given back to be sent by others at once. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#inTime(this.#sent.values());
    this.#parts.sender.close();
    const unanswered = [...this.#sent.keys()].filter((each) => !this.#answered.has(each));
    const cutOff = [...this.#cutOff.splice(0), ...unanswered];
    // A database that does not answer keeps no process from ending: there are leases.
    await this.#inTime(cutOff.map((each) => this.#parts.store.cutOff(each)));
  }

  async #inTime(work: Iterable<Promise<unknown>>): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, STOP_MS);
    });
    await Promise.race([Promise.allSettled(work), patience]);
    clearTimeout(timer);
  }

  #serves(lane: string): boolean {
    const untilMs = this.#left.get(lane);
    if (untilMs !== undefined && untilMs > performance.now()) {
      return false;
    }
    this.#left.delete(lane);
    return this.#parts.serves(lane);
  }

  /** `until`: when a request that begins may still be answered while it is held. */
  #send(taken: TakenDelivery, until: number): void {
    const { slots } = this.#parts;
    const { lane } = taken;
    const place = { lane, who: whoOf(taken) };
    const bytes = taken.happened?.job?.length ?? 0;
    slots.enter(place);
    this.#bytes.add(place.who, bytes);
    const sent = this.#deliver(taken, until)
      .catch((error: unknown) =>
        this.#parts.warn(
          `Delivery ${taken.id} could not be settled and is sent again: ${String(error)}`,
        ),
      )
      .finally(() => {
        this.#sent.delete(taken);
        slots.leave(place);
        this.#bytes.add(place.who, -bytes);
        // Fewer and larger takes: a lane that is still half full waits.
        if (!this.#isStopped && slots.isHalfEmpty(lane)) {
          this.#wake();
        }
      });
    this.#sent.set(taken, sent);
  }

  async #deliver(taken: TakenDelivery, until: number): Promise<void> {
    const { url, happened, event } = taken;
    const secrets = await this.#parts.secretsOf(taken);
    if (taken.isLost && taken.attempts > this.#parts.retryMs.length + 1) {
      await this.#settle(taken, {
        ...gone('the processes that sent it vanished'),
        isLast: false,
      });
      return;
    }
    if (url === null || happened === undefined) {
      await this.#settle(
        taken,
        gone(url === null ? 'its endpoint was deleted' : 'its job was deleted'),
      );
      return;
    }
    if (secrets === undefined || secrets.length === 0) {
      await this.#leave(taken, UNREADABLE);
      return;
    }
    if (performance.now() > until) {
      return; // While this process was held up somebody else may have sent it, and newer ones.
    }
    if (this.#isStopped) {
      this.#cutOff.push(taken);
      return;
    }
    const message = {
      id: taken.id,
      url,
      tenantId: taken.isDeclared ? undefined : taken.tenantId,
      body: bodyOf(event, happened),
      secrets,
      timestampSec: Math.floor(this.#parts.nowMs() / 1000),
    };
    const answer = await this.#parts.sender.send(message).catch(unlessUnasked);
    if (answer === undefined) {
      await this.#leave(taken, UNASKED);
      return;
    }
    if (!answer.isAcknowledged && this.#isStopped && answer.status === undefined) {
      this.#cutOff.push(taken); // Nobody's fault.
      return;
    }
    this.#parts.slots.told(taken.lane, answer.isAcknowledged);
    await this.#settle(taken, { answer, isLast: answer.status === 410 });
  }

  /** This process cannot send it, and says why; another one may, or this one after a while. */
  async #leave(taken: TakenDelivery, why: string): Promise<void> {
    const { id, holder, lane } = taken;
    this.#answered.add(taken);
    this.#left.set(lane, performance.now() + LEFT_MS);
    await this.#parts.store.release({ id, holder, answer: answerText(gone(why).answer, false) });
  }

  async #settle(taken: TakenDelivery, { answer, isLast, isOurs = false }: End): Promise<void> {
    this.#answered.add(taken);
    const { store, retryMs, random } = this.#parts;
    const isHidden = this.#parts.hideAnswers && !isOurs;
    const { askedMs, isAcknowledged } = answer;
    const againInMs =
      isAcknowledged || isLast
        ? undefined
        : waitAfter(taken.attempts, retryMs, { askedMs, random });
    const { id, holder, jobSeq, target } = taken;
    const end = {
      id,
      holder,
      jobSeq,
      target,
      status: isAcknowledged ? 'delivered' : againInMs === undefined ? 'failed' : 'pending',
      againInMs: againInMs ?? 0,
      answer: answerText(answer, isHidden),
    } as const;
    if (end.status === 'failed' && taken.url !== null && taken.happened !== undefined) {
      await this.#giveUp(taken, end, reasonOf(taken, answer), isHidden);
    } else {
      await store.settle(end);
    }
  }

  /** @param isHidden whether the reason is for the log only */
  async #giveUp(
    taken: TakenDelivery,
    end: DeliveryEnd,
    reason: string,
    isHidden: boolean,
  ): Promise<void> {
    const { store, warn } = this.#parts;
    const { disabled, isHookDropped } = await store.giveUp({
      ...end,
      asOfMs: taken.asOfMs,
      reason: isHidden ? `a delivery failed ${timesOf(taken)}` : reason,
    });
    if (disabled !== undefined) {
      warn(
        `Webhook endpoint ${disabled.id} (${hostOf(disabled.url)}) was disabled: ${reason}. Mend the receiver, then enable it (PUT /webhooks/${disabled.id} with {"enabled": true}): what has waited is sent then.`,
      );
      await this.#parts.refresh();
    }
    if (isHookDropped === true) {
      warn(
        `The status hook of job ${taken.happened?.jobId ?? '?'} is told nothing any more: ${reason}.`,
      );
    }
  }
}

/** Who shares the room for requests: a tenant, and each endpoint of the options. */
function whoOf({ lane, tenantId }: Pick<DueLane, 'lane' | 'tenantId'>): string {
  return lane.startsWith(DECLARED_PREFIX) ? lane : tenantId;
}

/** Why a receiver is sent nothing any more. */
function reasonOf(taken: TakenDelivery, { status, error }: Answer): string {
  if (status === 410) {
    return 'it answered 410 (gone)';
  }
  const last = status === undefined ? (error ?? 'nobody answered') : `it answered ${status}`;
  return `a delivery failed ${timesOf(taken)}, the last time because ${last}`;
}

function timesOf({ attempts }: TakenDelivery): string {
  return attempts === 1 ? 'once' : `${attempts} times`;
}

function unlessUnasked(error: unknown): undefined {
  if (!isJobsError(error) || error.code !== 'try_later') {
    throw error;
  }
}

/** How a try ends. */
interface End {
  readonly answer: Answer;
  readonly isLast: boolean;
  /** Whether it ended without a request, so that nothing of a receiver is in it. */
  readonly isOurs?: boolean;
}

/** What a try without a request ends with. */
function gone(why: string): End {
  return {
    isOurs: true,
    answer: {
      isAcknowledged: false,
      status: undefined,
      durationMs: 0,
      text: undefined,
      error: why,
      askedMs: undefined,
    },
    isLast: true,
  };
}

/**
 * What is kept of an answer, as JSON text. Of a hidden one nothing is: its status, its error and the time
 * it took tell as well what there is where the URL leads.
 */
export function answerText(answer: Answer, isHidden: boolean): string {
  return isHidden
    ? 'null'
    : JSON.stringify({
        status: answer.status ?? null,
        duration_ms: answer.durationMs,
        text: answer.text ?? null,
        error: answer.error ?? null,
      });
}

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'no URL';
}

/** So that where there are more lanes than room each has its turn. */
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, place: random() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ item }) => item);
}
