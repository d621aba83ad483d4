import type { CanActivate, ControllerOptions, NestInterceptor, Type } from '@nestjs/common';
import type { Duration } from './model/duration.js';
import type { LogLevel } from './model/job.js';
import type { FinalStatus } from './model/job-status.js';
import type { ConcurrencyLimit, RateLimit, ScopeLimits } from './model/limits.js';
import type { WebhookEvent } from './model/webhook.js';
import type { ResolvedWebhooks } from './webhooks/options.js';
import type { Backoff, ResolvedBackoff } from './model/retry-policy.js';

/** Who makes a request. */
export interface JobsIdentity {
  /** 1–64 characters. */
  readonly tenantId: string;
  /** 1–64 characters, or null when unknown. @default null */
  readonly userId?: string | null;
  /** May pause queues and see the workers. @default false */
  readonly operator?: boolean;
}

/** A group of job types, and the queue that its jobs wait in. */
export interface JobGroupOptions {
  /** `[A-Za-z0-9_.-]{1,64}`. */
  readonly name: string;
  /** A built-in queue or one of the option `queues`. @default 'default' */
  readonly queue?: string;
  readonly description?: string;
}

/** A queue: its capacity, or an object with it. */
export type QueueOptions =
  | number
  | {
      /** Handlers that one process has at work at once. */
      readonly capacity: number;
      /** How many of its jobs may be at work at once, over all processes. @default no limit */
      readonly concurrency?: ConcurrencyLimit;
      /** How many of its jobs may begin in a period, over all processes. @default no limit */
      readonly rate?: RateLimit;
    };

/** Groups of REST routes that `api.only` names. */
export type ApiSection =
  'jobs' | 'catalog' | 'queues' | 'schedules' | 'webhooks' | 'workers' | 'stats';

/** What the REST API is mounted with. */
export interface ApiOptions {
  /** Path in front of the routes. @default '' */
  readonly path?: string;
  /** Version of the controllers, as `@Controller({ version })` takes it. */
  readonly version?: ControllerOptions['version'];
  /** Guards of every route: classes (resolved by Nest) or instances. */
  readonly guards?: readonly (Type<CanActivate> | CanActivate)[];
  /** Interceptors of every route: classes (resolved by Nest) or instances. */
  readonly interceptors?: readonly (Type<NestInterceptor> | NestInterceptor)[];
  /** The groups of routes to register. @default all */
  readonly only?: readonly ApiSection[];
}

/** Defaults of job types; a type and a job override them. */
export interface JobDefaults {
  /** How long a run may take; 0 = no limit. @default 0 */
  readonly timeout?: Duration;
  /** @default 0 */
  readonly maxRetries?: number;
  /** Before the first retry. @default '10s' */
  readonly retryDelay?: Duration;
  /** How the delay grows. @default 'fixed' */
  readonly backoff?: Backoff;
  /** Whether a run that timed out is retried. @default false */
  readonly retryOnTimeout?: boolean;
}

/** A worker's hold on a job. */
export interface LeaseOptions {
  /** At least 1 s. A dead worker's jobs come back after this and one sweep. @default '30s' */
  readonly duration?: Duration;
  /** How often ended leases are looked for; at least 0.2 s. @default '10s' */
  readonly sweep?: Duration;
  /** How often a job is taken back from a lost worker before it fails. @default 3 */
  readonly maxLost?: number;
}

/** How long what is asked to stop may take. */
export interface GraceOptions {
  /** A stopping process waits so long for its handlers before it signals them. @default '30s' */
  readonly shutdown?: Duration;
  /** A signalled handler may take so long before its run is settled by force. @default '5s' */
  readonly signal?: Duration;
}

/** Age at which ended jobs are deleted, by status; `false` keeps them. */
export type RetentionOptions = false | { readonly [S in FinalStatus]?: Duration | false };

/** Sizes in UTF-8 bytes, except `logLines` (lines a run) and `depth` (levels of nesting). */
export interface LimitOptions {
  /** @default 262144 */
  readonly params?: number;
  /** @default 262144 */
  readonly result?: number;
  /** @default 262144 */
  readonly state?: number;
  /** @default 16384 */
  readonly meta?: number;
  /** Error texts are cut there. @default 32768 */
  readonly error?: number;
  /** Log lines are cut there. @default 16384 */
  readonly logLine?: number;
  /** Lines that a run may keep in the database; the last one says so. 0 keeps none. @default 10000 */
  readonly logLines?: number;
  /** @default 64 */
  readonly depth?: number;
}

/** Rotating files of the jobs' logs. */
export interface LogFileOptions {
  readonly path: string;
  /** @default 'debug' */
  readonly level?: LogLevel;
  /** Bytes, or a text such as '1000M'. @default '1000M' */
  readonly maxSize?: number | string;
  /** Rotated files that are kept. @default 3 */
  readonly maxFiles?: number;
  /** Rotated files older than this are deleted. @default '28d' */
  readonly maxAge?: Duration;
}

/** Logs of the jobs. */
export interface JobLogOptions {
  /** The lowest level kept in the database. @default 'info' */
  readonly level?: LogLevel;
  /** @default false */
  readonly file?: false | LogFileOptions;
}

/** How the engine treats the database. */
export interface DatabaseOptions {
  /** `auto` migrates at the first contact, `check` refuses an older schema, `off` does neither and expects the tables to be there. @default 'auto' */
  readonly migrate?: 'auto' | 'check' | 'off';
  /**
   * Connections of the engine to a server, beside those of TypeORM; less than 6 on PostgreSQL or 5 on
   * MariaDB and MySQL is a boot error. SQLite has one. @default 8 on PostgreSQL, 7 on MariaDB and MySQL
   */
  readonly poolSize?: number;
}

/** An endpoint that is told what happens to the jobs of all tenants. */
export interface WebhookEndpointOptions {
  readonly url: string;
  /** Such as `job.completed`. @default everything */
  readonly events?: readonly WebhookEvent[];
  /** `whsec_` and the base64 of 24 to 64 random bytes; while it is replaced, the new one and the old one. */
  readonly secret: string | readonly string[];
}

/** Who is told over HTTP what happens to jobs, and how. */
export interface WebhooksOptions {
  /** The same on every process that gives the option; those without it leave them as they are. */
  readonly endpoints?: readonly WebhookEndpointOptions[];
  /** Signs what is sent to the status hooks of jobs; without it there are none. */
  readonly secret?: string | readonly string[];
  /**
   * At least 32 random characters, or a function that gives them: encrypts the secrets of endpoints
   * that are added by REST or in code. Of several the first encrypts, and all can be read: put a new one
   * first and keep the old ones. @default a key that follows from `secret`, else one beside them
   */
  readonly encryptionKey?:
    | string
    | readonly string[]
    | (() => string | readonly string[] | Promise<string | readonly string[]>);
  /** For how long an old secret signs too after it was replaced. @default '24h' */
  readonly overlap?: Duration;
  /** Whether URLs may begin with http. @default false */
  readonly allowHttp?: boolean;
  /** Addresses and ranges (CIDR) that are not public and may be sent to all the same, at any port. */
  readonly allowAddresses?: readonly string[];
  /**
   * A proxy that everything is sent through, by CONNECT, such as `http://user:password@proxy:3128`. It
   * looks names up and judges where they lead; addresses in URLs are judged here as well. @default none
   */
  readonly proxy?: string;
  /**
   * Hosts that tenants may name, such as `hooks.example.com` or `*.example.com`; or a function that gives
   * those of a tenant, and undefined where it may name any. @default any
   */
  readonly allowHosts?: readonly string[] | ((tenantId: string) => readonly string[] | undefined);
  /** How many endpoints a tenant may have. @default 100 */
  readonly maxEndpoints?: number;
  /** Waits between the tries of a delivery. @default nine waits from 5 s to 24 h, three days in all */
  readonly retry?: readonly Duration[];
  /** Whether what receivers answer is kept from sight: it may tell who has chosen the URL what is there. @default false */
  readonly hideAnswers?: boolean;
}

/** What `forRoot` takes. */
export interface JobsModuleOptions {
  /** Whether the services can be injected everywhere. @default true */
  readonly isGlobal?: boolean;
  /** Name of the TypeORM data source. @default the default one */
  readonly dataSource?: string;
  /** `worker` and `both` run jobs, `producer` only enqueues. @default 'both' */
  readonly role?: 'both' | 'worker' | 'producer';
  /** Whether workers start with the application. @default true */
  readonly autoStart?: boolean;
  /** Groups beside `default`. */
  readonly groups?: readonly JobGroupOptions[];
  /** Queues by name, over the built-in `compute` 1, `maintenance` 5, `download` 10, `default` 10. */
  readonly queues?: Readonly<Record<string, QueueOptions>>;
  /** The channels that this process's workers claim, or all. @default [''] */
  readonly channels?: readonly string[] | '*';
  /** Tells who makes a request; a throw is answered 401. @default one tenant, everyone is operator */
  readonly identify?: (request: never) => JobsIdentity | Promise<JobsIdentity>;
  readonly defaults?: JobDefaults;
  readonly lease?: LeaseOptions;
  readonly grace?: GraceOptions;
  /** @default completed, skipped and canceled 7 days, failed and timeout 30 */
  readonly retention?: RetentionOptions;
  readonly limits?: LimitOptions;
  readonly logs?: JobLogOptions;
  readonly database?: DatabaseOptions;
  readonly webhooks?: WebhooksOptions;
  /** @default mounted at the root */
  readonly api?: false | ApiOptions;
}

/** The options with every value present; durations in milliseconds. */
export interface ResolvedOptions {
  readonly dataSource: string | undefined;
  readonly role: 'both' | 'worker' | 'producer';
  readonly autoStart: boolean;
  readonly groups: ReadonlyMap<
    string,
    { readonly name: string; readonly queueName: string; readonly description: string }
  >;
  readonly queues: ReadonlyMap<string, number>;
  /** Of queues that have any. */
  readonly queueLimits: ReadonlyMap<string, ScopeLimits>;
  readonly channels: readonly string[] | '*';
  readonly identify: ((request: never) => JobsIdentity | Promise<JobsIdentity>) | undefined;
  readonly defaults: {
    readonly timeoutMs: number;
    readonly maxRetries: number;
    readonly retryDelayMs: number;
    readonly backoff: ResolvedBackoff;
    readonly retryOnTimeout: boolean;
  };
  readonly lease: {
    readonly durationMs: number;
    readonly sweepMs: number;
    readonly maxLost: number;
  };
  readonly grace: { readonly shutdownMs: number; readonly signalMs: number };
  readonly retention: ReadonlyMap<FinalStatus, number>;
  readonly limits: Required<LimitOptions>;
  readonly logs: {
    readonly level: LogLevel;
    readonly file:
      (Required<Omit<LogFileOptions, 'maxAge'>> & { readonly maxAgeMs: number }) | undefined;
  };
  readonly database: {
    readonly migrate: 'auto' | 'check' | 'off';
    readonly poolSize: number | undefined;
  };
  readonly webhooks: ResolvedWebhooks;
  readonly api: false | (ApiOptions & { readonly path: string });
}
