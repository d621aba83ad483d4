import { isJobsError } from '../model/errors.js';
import { newId } from '../model/id.js';
import type { JobEventEntity } from '../entities/job-event.entity.js';
import type { DueLane, TakenDelivery, WebhookStore } from '../store/webhooks.js';
import { gone } from './answers.js';
import { Counts } from './counts.js';
import { bodyOf } from './event-body.js';
import { DECLARED_PREFIX } from './options.js';
import { Room } from './room.js';
import { TOTAL_MS, type Answer, type Sender } from './sender.js';
import { MOST, MOST_OF_ONE, type Slots } from './slots.js';
import { TryEnds, type TryEndsParts } from './try-ends.js';

/** Of the jobs under way of one tenant, as they were: nothing more of it is taken beyond that. */
const MOST_BYTES = 8_000_000;
/** Longer than any request lasts: after it somebody else sends what a dead process held. */
const LEASE_MS = 30_000;
/** While there is something on its way, looks for what others have stored. */
const LOOK_MS = 1000;
const STOP_MS = 2000;
/** A receiver that answers quickly is sent the next ones as soon as it has answered: they are there. */
const QUICK_MS = 100;
/** What has waited so long for its turn is given back: its receiver answers no more. */
const TURN_MS = 5000;
/** A process that cannot send to a receiver leaves what is for it to others, for so long. */
const LEFT_MS = 60_000;
const UNREADABLE =
  'its secret cannot be read, so nothing was sent: the former key has to be given beside the new one in webhooks.encryptionKey, or the endpoint be disabled and given a new secret (rotate_secret)';
const UNTRIED = 'its receiver was busy with others, so nothing was sent';
const UNASKED =
  'it is not known which hosts its tenant may name (webhooks.allowHosts), so nothing was sent';

/** What a deliverer is made of. */
export interface DelivererParts extends TryEndsParts {
  readonly sender: Sender;
  readonly slots: Slots;
  /** The database's time. */
  nowMs(): number;
  /** Whether this process can sign for a lane: others may have other options. */
  readonly serves: (lane: string) => boolean;
  /** The secrets that sign for a receiver now; undefined where they cannot be read. */
  secretsOf(taken: TakenDelivery): Promise<readonly string[] | undefined>;
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
  /** Requests under way. */
  readonly #requests = new Room({ inAll: MOST, ofOne: MOST_OF_ONE, patienceMs: TURN_MS });
  /** Behind which lane the next look begins. */
  #after = '';
  /** When the first delivery is due of the lanes that were looked at since the first of them. */
  #nextMs = Infinity;
  readonly #ends: TryEnds;
  /** Takings so far: how a try ended that is being stored when one begins is stored before it. */
  #takes = 0;
  #isStopped = false;
  #wake: () => void = () => undefined;

  constructor(parts: DelivererParts) {
    this.#parts = parts;
    this.#ends = new TryEnds(parts);
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
    // Fewer and larger takes: a lane that is still half full waits.
    const due = lanes.filter(
      (each) =>
        each.dueAtMs <= nowMs &&
        this.#bytes.of(whoOf(each)) < MOST_BYTES &&
        slots.isHalfEmpty(each.lane),
    );
    const wanted = slots.share(
      shuffled(due, random).map((each) => ({ lane: each.lane, who: whoOf(each) })),
    );
    const until = performance.now() + LEASE_MS - TOTAL_MS;
    const taken = wanted.length === 0 ? [] : await this.#take(wanted);
    for (const each of taken) {
      this.#send(each, until);
    }
    const againMs = this.#lookedAt(lanes, nowMs, next !== undefined);
    return taken.length > 0 ? 0 : againMs;
  }

  #take(wanted: Parameters<WebhookStore['take']>[0]): ReturnType<WebhookStore['take']> {
    this.#takes += 1;
    return this.#parts.store.take(wanted, newId(), LEASE_MS);
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
    const unanswered = [...this.#sent.keys()].filter((each) => !this.#ends.has(each));
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
    let takes: number | undefined;
    // The next ones are taken while its end is stored, mostly with the same commit.
    const answered = (): void => {
      if (takes === undefined) {
        takes = this.#takes;
        slots.leave(place);
        this.#wakeFor(lane);
      }
    };
    const sent = this.#deliver(taken, until, answered)
      .catch((error: unknown) =>
        this.#parts.warn(
          `Delivery ${taken.id} could not be settled and is sent again: ${String(error)}`,
        ),
      )
      .finally(() => {
        answered();
        this.#sent.delete(taken);
        this.#bytes.add(place.who, -bytes);
        if (takes === this.#takes) {
          // What waits behind it is free, and nobody has looked.
          this.#wakeFor(lane);
        }
      });
    this.#sent.set(taken, sent);
  }

  #wakeFor(lane: string): void {
    if (!this.#isStopped && this.#parts.slots.isHalfEmpty(lane)) {
      this.#wake();
    }
  }

  async #deliver(taken: TakenDelivery, until: number, answered: () => void): Promise<void> {
    const { url, happened } = taken;
    const secrets = await this.#parts.secretsOf(taken);
    if (taken.isLost && taken.attempts > this.#parts.retryMs.length + 1) {
      await this.#ends.settle(taken, {
        ...gone('the processes that sent it vanished'),
        isLast: false,
      });
      return;
    }
    if (url === null || happened === undefined) {
      await this.#ends.settle(
        taken,
        gone(url === null ? 'its endpoint was deleted' : 'its job was deleted'),
      );
      return;
    }
    if (secrets === undefined || secrets.length === 0) {
      // Another process may sign it, or this one after a while.
      this.#left.set(taken.lane, performance.now() + LEFT_MS);
      await this.#ends.release(taken, UNREADABLE);
      return;
    }
    const { lane } = taken;
    const request = (): Promise<Answer | undefined> =>
      this.#request(taken, { url, happened, secrets, until });
    const answer = await this.#requests
      .do(lane, request, () => new TurnMissed())
      .catch(async (error: unknown) => {
        if (!(error instanceof TurnMissed)) {
          throw error;
        }
        this.#parts.slots.slowed(lane);
        await this.#ends.release(taken, UNTRIED);
      });
    if (answer === undefined) {
      return;
    }
    const { isAcknowledged, durationMs } = answer;
    this.#parts.slots.told(lane, isAcknowledged, isAcknowledged && durationMs < QUICK_MS);
    const settled = this.#ends.settle(taken, { answer, isLast: answer.status === 410 });
    answered();
    await settled;
  }

  /** Sends it in its turn; undefined where it was not tried, which has been seen to. */
  async #request(
    taken: TakenDelivery,
    { url, happened, secrets, until }: Content,
  ): Promise<Answer | undefined> {
    if (performance.now() > until) {
      return undefined; // While this process was held up somebody else may have sent it, and newer ones.
    }
    if (this.#isStopped) {
      this.#cutOff.push(taken);
      return undefined;
    }
    const message = {
      id: taken.id,
      url,
      tenantId: taken.isDeclared ? undefined : taken.tenantId,
      body: bodyOf(taken.event, happened),
      secrets,
      timestampSec: Math.floor(this.#parts.nowMs() / 1000),
    };
    const answer = await this.#parts.sender.send(message).catch(unlessUnasked);
    if (answer === undefined) {
      this.#left.set(taken.lane, performance.now() + LEFT_MS);
      await this.#ends.release(taken, UNASKED);
      return undefined;
    }
    if (!answer.isAcknowledged && this.#isStopped && answer.status === undefined) {
      this.#cutOff.push(taken); // Nobody's fault.
      return undefined;
    }
    return answer;
  }
}

/** What is sent of a delivery, and until when its answer comes in time. */
interface Content {
  readonly url: string;
  readonly happened: JobEventEntity;
  readonly secrets: readonly string[];
  readonly until: number;
}

/** Its receiver was busy for too long. */
class TurnMissed extends Error {}

/** Who shares the room for requests: a tenant, and each endpoint of the options. */
function whoOf({ lane, tenantId }: Pick<DueLane, 'lane' | 'tenantId'>): string {
  return lane.startsWith(DECLARED_PREFIX) ? lane : tenantId;
}

function unlessUnasked(error: unknown): undefined {
  if (!isJobsError(error) || error.code !== 'try_later') {
    throw error;
  }
}

/** So that where there are more lanes than room each has its turn. */
function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, place: random() }))
    .toSorted((a, b) => a.place - b.place)
    .map(({ item }) => item);
}
