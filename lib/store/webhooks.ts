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

/** The target of deliveries to a job's own status hook. */
export const STATUS_HOOK = 'status_hook';

/** Deliveries that wait for one receiver, and when the first of them is due. */
export interface DueLane {
  readonly lane: string;
  readonly dueAtMs: number;
}

/** A delivery that this process sends now, with what it sends. */
export interface TakenDelivery {
  readonly id: string;
  readonly target: string;
  readonly lane: string;
  readonly jobSeq: number;
  readonly attempts: number;
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
  readonly jobSeq: number;
  readonly target: string;
  readonly status: JobDeliveryEntity['status'];
  /** Of one that is tried again: after so long. */
  readonly againInMs: number;
  /** JSON text. */
  readonly answer: string;
}

/** A part of the deliveries of an endpoint, newest first. */
export interface DeliveryQuery {
  readonly target: string;
  readonly status: JobDeliveryEntity['status'] | undefined;
  readonly limit: number;
  /** Only older ones than this. */
  readonly before: string | undefined;
}

/** Events, endpoints and deliveries. */
export interface WebhookStore {
  /** Whether anybody hears of all jobs of a tenant, as this process last saw it. */
  isHeard(tenantId: string): boolean;
  /** Writes down that these jobs run, for those who want to hear it; twice is as good as once. */
  claimed(jobs: readonly JobEntity[]): Promise<void>;
  /** What happened to a job after a sequence, in order. */
  events(jobSeq: number, after: number): Promise<readonly JobEventEntity[]>;
  /** Endpoints of a tenant, or all; oldest first. */
  list(tenantId: string | undefined): Promise<readonly JobWebhookEntity[]>;
  find(id: string): Promise<JobWebhookEntity | undefined>;
  /** Stores an endpoint, or new values of one; its times are set here. */
  save(endpoint: JobWebhookEntity): Promise<JobWebhookEntity>;
  /** Makes these the endpoints that options declare; how they stand is kept. */
  declare(endpoints: readonly Pick<JobWebhookEntity, 'id' | 'url' | 'events'>[]): Promise<void>;
  remove(id: string): Promise<void>;
  /** Disables an endpoint, once; undefined when it was already. */
  disable(id: string, reason: string): Promise<JobWebhookEntity | undefined>;
  /** Ends the status hook of a job: what waits for it has failed. */
  dropHook(jobSeq: number, answer: string): Promise<void>;
  /** Takes deliveries of an endpoint off its lane, or puts them back; whether there are more. */
  park(target: string, isParked: boolean): Promise<boolean>;
  /** What is on its way, by receiver. */
  lanes(): Promise<readonly DueLane[]>;
  /** Takes due deliveries of lanes, for so long; of a job and a receiver one at a time, in order. */
  take(
    wanted: readonly { readonly lane: string; readonly most: number }[],
    holder: string,
    leaseMs: number,
  ): Promise<readonly TakenDelivery[]>;
  /** Writes down how tries ended; nothing of one that somebody else holds by now. */
  settle(end: DeliveryEnd, holder: string): Promise<void>;
  /** Gives back what was taken and not tried; it says why. */
  release(delivery: Pick<DeliveryEnd, 'id' | 'answer'>, holder: string): Promise<void>;
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
