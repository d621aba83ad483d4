import type { INestApplication, Type } from '@nestjs/common';
import type { AbstractHttpAdapter } from '@nestjs/core';
import { JobsService, type JobsIdentity, type JobsModuleOptions } from '../../lib/index.js';
import { rootModule } from '../support/boot.js';
import type { Lifetime } from '../support/cleanup.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import { openHost, type HttpApp, type Server } from '../support/http.js';

export interface RealHost {
  readonly server: Server;
  readonly types?: readonly Type[];
  readonly options?: JobsModuleOptions;
  readonly configure?: (app: INestApplication) => unknown;
  readonly adapter?: AbstractHttpAdapter;
  readonly lifetime?: Lifetime;
  /** One that is there already. */
  readonly database?: TestDatabase;
}

/** An application with the whole library behind its routes. */
export async function openReal(host: RealHost): Promise<HttpApp & { readonly jobs: JobsService }> {
  const { server, types = [], options, configure, adapter, lifetime = 'test' } = host;
  const { database = createDatabase(lifetime) } = host;
  const module = rootModule({ types, options: { api: {}, ...options } }, database);
  const opened = await openHost({
    server,
    module,
    lifetime,
    ...(configure === undefined ? {} : { configure }),
    ...(adapter === undefined ? {} : { adapter }),
  });
  return Object.assign(opened, { jobs: opened.app.get(JobsService, { strict: false }) });
}

/** The tenant of a request: a header of its own. */
export function byHeader(request: { headers: Record<string, string | undefined> }): JobsIdentity {
  const { 'x-tenant': tenantId, 'x-user': userId, 'x-operator': operator } = request.headers;
  if (tenantId === undefined) {
    throw new Error('nobody');
  }
  return { tenantId, userId: userId ?? null, operator: operator === 'yes' };
}
