import type { JobEntity } from '../entities/job.entity.js';
import type { JobDeliveryEntity } from '../entities/job-delivery.entity.js';
import type { JobEventEntity } from '../entities/job-event.entity.js';
import type { JobWebhookEntity } from '../entities/job-webhook.entity.js';

/** An endpoint that wants to hear of jobs. */
export interface Subscriber {
  readonly id: string;
  /** Null: of all tenants. */
  readonly tenantId: string | null;
  /** Null: everything. */
  readonly events: ReadonlySet<string> | null;
}

/** Why an endpoint was disabled that the options of no process declare any more. */
export const UNDECLARED = 'no process has declared it for a day';

/** The target of deliveries to a job's own status hook. */
export const STATUS_HOOK = 'status_hook';

/** How the lanes of status hooks begin; those of endpoints have the endpoint's id, which sorts before. */
export const HOOK_LANE = 'hook-';

/** Deliveries that wait for one receiver, and when the first of them is due. */
export interface DueLane {
  readonly lane: string;
  /** Of a job that is told of; of all, but where the options declare the endpoint. */
  readonly tenantId: string;
  readonly dueAtMs: number;
}

/** Some lanes, in their order; those of endpoints that are disabled are left out. */
export interface LanePage {
  readonly lanes: readonly DueLane[];
  /** Behind which there may be more. */
  readonly next: string | undefined;
}

/** A delivery that this process sends now, with what it sends. */
export interface TakenDelivery {
  readonly id: string;
  /** The name of this taking: whoever has another one has it no more. */
  readonly holder: string;
  readonly target: string;
  readonly lane: string;
  readonly jobSeq: number;
  /** Of the job. */
  readonly tenantId: string;
  readonly attempts: number;
  /** Whether those who sent it have vanished again and again: each time was a try. */
  readonly isLost: boolean;
  /** When the endpoint was last changed; null of a status hook. */
  readonly asOfMs: number | null;
  readonly event: string;
  /** Of the hook, or of the endpoint; null when that is gone. */
  readonly url: string | null;
  /** Of the endpoint, as stored. */
  readonly secrets: string | null;
  readonly isDeclared: boolean;
  readonly happened: JobEventEntity | undefined;
}

/** How a try ended. */
export interface DeliveryEnd {
  readonly id: string;
  readonly holder: string;
  readonly jobSeq: number;
  readonly target: string;
  readonly status: JobDeliveryEntity['status'];
  /** Of one that is tried again: after so long. */
  readonly againInMs: number;
  /** JSON text. */
  readonly answer: string;
}

/** How the last try ended, after which nothing is sent to the receiver. */
export interface LastEnd extends DeliveryEnd {
  readonly asOfMs: number | null;
  /** Why, for people. */
  readonly reason: string;
}

/** What came of a last try; nothing, where somebody else has taken the delivery, or changed the endpoint. */
export interface GivenUp {
  /** The endpoint, if it was enabled. */
  readonly disabled?: JobWebhookEntity | undefined;
  readonly isHookDropped?: true;
}

/** What of an endpoint is changed; what is absent stays. */
export interface WebhookChange {
  readonly url?: string;
  readonly events?: string | null;
  /** Sealed texts: nothing is changed at all where another one than `before` is stored. */
  readonly secrets?: { readonly before: string; readonly after: string };
  readonly isEnabled?: boolean;
}

/** A part of the deliveries of an endpoint, or of a job's status hook, newest first. */
export interface DeliveryQuery {
  readonly of: { readonly endpoint: string } | { readonly hookOfJob: string };
  readonly status: JobDeliveryEntity['status'] | undefined;
  readonly limit: number;
  /** Only older ones than this. */
  readonly before: string | undefined;
}

/** Some of the events of a job, without the job as it was, and whether there are more. */
export interface EventPage {
  readonly events: readonly JobEventEntity[];
  readonly isMore: boolean;
}

/** Events, endpoints and deliveries. */
export interface WebhookStore {
  /** Whether anybody hears of all jobs of a tenant, as this process last saw it. */
  isHeard(tenantId: string): boolean;
  /** Writes down that these jobs run, for those who want to hear it; twice is as good as once. */
  claimed(jobs: readonly JobEntity[]): Promise<void>;
  /** What happened to a job after a sequence, up to another, in order: a page of it. */
  events(jobSeq: number, after: number, upTo: number): Promise<EventPage>;
  /** Endpoints of a tenant, or all; oldest first. */
  list(tenantId: string | undefined): Promise<readonly JobWebhookEntity[]>;
  find(id: string): Promise<JobWebhookEntity | undefined>;
  /** Stores a new endpoint, unless its tenant has so many, whoever adds others meanwhile; its times are set here. */
  add(endpoint: JobWebhookEntity, most: number): Promise<JobWebhookEntity | undefined>;
  /** Changes that of an endpoint; gives it as it is then, with the secrets of somebody else who was quicker; undefined when it is gone. */
  change(id: string, change: WebhookChange): Promise<JobWebhookEntity | undefined>;
  /**
   * Says that the options of this process declare these, and disables those that no process has declared
   * for so long, until one does again. Otherwise how they stand is kept. Gives those it has disabled.
   */
  declare(
    endpoints: readonly Pick<JobWebhookEntity, 'id' | 'url' | 'events'>[],
    keptMs: number,
  ): Promise<readonly string[]>;
  remove(id: string): Promise<void>;
  /**
   * Ends a delivery for good and with it its receiver: an endpoint is disabled, a status hook hears nothing
   * more. Where somebody has changed the endpoint since it was taken, it starts anew.
   */
  giveUp(end: LastEnd): Promise<GivenUp>;
  /** What is on its way, by receiver, behind a lane. */
  lanes(after: string): Promise<LanePage>;
  /**
   * Takes due deliveries of lanes, for so long, under a name that no other taking has; of a job and a
   * receiver one at a time, in order.
   */
  take(
    wanted: readonly { readonly lane: string; readonly most: number }[],
    holder: string,
    leaseMs: number,
  ): Promise<readonly TakenDelivery[]>;
  /** Writes down how tries ended; nothing of one that somebody else holds by now. */
  settle(end: DeliveryEnd): Promise<void>;
  /** Gives back what was taken and not tried; it says why. */
  release(delivery: Pick<DeliveryEnd, 'id' | 'answer' | 'holder'>): Promise<void>;
  /** Gives back what this process was sending when it ended: perhaps it has arrived. */
  cutOff(delivery: Pick<DeliveryEnd, 'id' | 'holder'>): Promise<void>;
  deliveries(query: DeliveryQuery): Promise<readonly JobDeliveryEntity[]>;
  delivery(id: string): Promise<JobDeliveryEntity | undefined>;
  /** Writes down a delivery of no job. */
  record(delivery: JobDeliveryEntity): Promise<JobDeliveryEntity>;
  /** Sends a delivery that is over once more; undefined when there is none such. */
  redeliver(id: string): Promise<JobDeliveryEntity | undefined>;
  /** Endpoints with secrets, after that id and at most so many, by id. */
  sealed(
    after: string,
    most: number,
  ): Promise<readonly { readonly id: string; readonly secrets: string }[]>;
  /** Puts a sealed text in the place of another, if that is still there. */
  reseal(id: string, before: string, after: string): Promise<void>;
  /** A key of that name: the one that is stored, else the one given. */
  key(name: string, made: string): Promise<string>;
}
