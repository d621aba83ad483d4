import { Inject, Injectable } from '@nestjs/common';
import type { HandlerRegistry, RegisteredType } from '../engine/handlers.js';
import type { DeclaredSchedule } from '../engine/scheduling.js';
import { JobsError, notFound } from '../model/errors.js';
import type { ScopeLimits } from '../model/limits.js';
import type { Class, JobHandler, JobTypeOptions } from '../model/job-type.js';
import type { JsonObject } from '../model/json.js';
import { JOBS_CATALOG } from '../jobs.tokens.js';
import type { JobGroupOptions, QueueOptions } from '../jobs.options.js';

/** A job type as it is shown. Durations in milliseconds. */
export interface JobTypeInfo {
  /** `group:name`. */
  readonly typeId: string;
  readonly group: string;
  readonly name: string;
  readonly description: string;
  readonly version: number;
  readonly timeout: number;
  readonly maxRetries: number;
  readonly retryDelay: number;
  readonly suspendable: boolean;
  readonly remote: boolean;
  /** The defaults of its params. */
  readonly params: JsonObject;
  readonly paramsSchema: JsonObject;
}

/** A job group as it is shown. */
export interface JobGroupInfo {
  readonly name: string;
  readonly queueName: string;
  readonly description: string;
}

/** What this process has registered, shared by the explorer and the service. */
export interface Catalog {
  readonly handlers: HandlerRegistry;
  readonly groups: Map<string, JobGroupInfo>;
  readonly queues: Map<string, number>;
  /** Of queues, over the cluster. */
  readonly limits: Map<string, ScopeLimits>;
  /** The schedules that code declares. */
  readonly schedules: DeclaredSchedule[];
  /** Types that were registered by call, until bootstrap takes them up. */
  readonly pending: { readonly options: JobTypeOptions; readonly handler: JobHandler }[];
  isClosed: boolean;
  addGroup(group: JobGroupOptions): void;
  addQueue(name: string, queue: QueueOptions): void;
}

/** The job types and groups of this process. */
@Injectable()
export class CatalogService {
  readonly #catalog: Catalog;

  constructor(@Inject(JOBS_CATALOG) catalog: Catalog) {
    this.#catalog = catalog;
  }

  /** All types, by id. */
  types(): readonly JobTypeInfo[] {
    return this.#catalog.handlers
      .all()
      .map(infoOf)
      .sort((a, b) => (a.typeId < b.typeId ? -1 : 1));
  }

  /** @throws JobsError `not_found` */
  type(id: string): JobTypeInfo {
    const type = this.#catalog.handlers.get(id);
    if (type === undefined) {
      throw notFound('job type', id);
    }
    return infoOf(type);
  }

  /** All groups, by name. */
  groups(): readonly JobGroupInfo[] {
    return [...this.#catalog.groups.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** @throws JobsError `not_found` */
  group(name: string): JobGroupInfo {
    const group = this.#catalog.groups.get(name);
    if (group === undefined) {
      throw notFound('job group', name);
    }
    return group;
  }

  /**
   * Registers a job type that has no `@JobType` class, until bootstrap ends.
   *
   * @throws JobsError `invalid_options`
   */
  registerType(options: JobTypeOptions, handler: JobHandler): void {
    this.#open('registerType');
    this.#catalog.pending.push({ options, handler });
  }

  /** Registers a group, until bootstrap ends. @throws JobsError `invalid_options` */
  registerGroup(group: JobGroupOptions): void {
    this.#open('registerGroup');
    this.#catalog.addGroup(group);
  }

  /** Registers a queue, until bootstrap ends. @throws JobsError `invalid_options` */
  registerQueue(name: string, queue: QueueOptions): void {
    this.#open('registerQueue');
    this.#catalog.addQueue(name, queue);
  }

  #open(call: string): void {
    if (this.#catalog.isClosed) {
      throw new JobsError(
        'invalid_options',
        `CatalogService.${call} was called after bootstrap: call it in onModuleInit or onApplicationBootstrap of a provider, before the workers start.`,
      );
    }
  }
}

/** The class of a handler that was registered by call. */
export function classOf(handler: JobHandler): Class {
  return handler.constructor as Class;
}

function infoOf(type: RegisteredType): JobTypeInfo {
  return {
    typeId: type.typeId,
    group: type.group,
    name: type.name,
    description: type.description,
    version: type.version,
    timeout: Math.round(type.timeoutSec * 1000),
    maxRetries: type.maxRetries,
    retryDelay: Math.round(type.retryDelaySec * 1000),
    suspendable: type.suspendable,
    remote: false,
    params: type.params.defaults,
    paramsSchema: type.params.schema,
  };
}
