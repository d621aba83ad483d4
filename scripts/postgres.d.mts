import type { TestServer } from './servers.d.mts';

/** Starts a server; `durable` keeps its promises over a crash. */
export function startPostgres(options?: {
  readonly durable?: boolean;
  readonly settings?: readonly string[];
}): Promise<TestServer & { readonly data: string; readonly as: object; readonly bin: string }>;
