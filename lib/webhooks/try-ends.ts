import type { DeliveryEnd, TakenDelivery, WebhookStore } from '../store/webhooks.js';
import { answerText, gone, type End } from './answers.js';
import { waitAfter } from './retry-schedule.js';
import type { Answer } from './sender.js';

/** What the ends of tries are stored with. */
export interface TryEndsParts {
  readonly store: WebhookStore;
  readonly retryMs: readonly number[];
  readonly hideAnswers: boolean;
  readonly random: () => number;
  /** This process looks at once who hears what. */
  refresh(): Promise<void>;
  readonly warn: (text: string) => void;
}

/** Writes down how tries ended: what is tried again and when, and which receivers are given up. */
export class TryEnds {
  readonly #parts: TryEndsParts;
  readonly #begun = new WeakSet<TakenDelivery>();

  constructor(parts: TryEndsParts) {
    this.#parts = parts;
  }

  /** Whether its end is stored, or being stored: a stop does not give it back. */
  has(taken: TakenDelivery): boolean {
    return this.#begun.has(taken);
  }

  /** Gives back what was not tried, and says why not. */
  async release(taken: TakenDelivery, why: string): Promise<void> {
    const { id, holder } = taken;
    this.#begun.add(taken);
    await this.#parts.store.release({ id, holder, answer: answerText(gone(why).answer, false) });
  }

  async settle(taken: TakenDelivery, { answer, isLast, isOurs = false }: End): Promise<void> {
    this.#begun.add(taken);
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

function hostOf(url: string): string {
  return URL.canParse(url) ? new URL(url).host : 'no URL';
}
