import type { TestServer } from './servers.d.mts';

/** Starts a server; `durable` keeps its promises over a crash. */
export function startPostgres(options?: {
  readonly durable?: boolean;
  readonly settings?: readonly string[];
  /** The url of a server whose copy it begins as, and follows. */
  readonly standbyOf?: string;
}): Promise<TestServer & { readonly data: string; readonly as: object; readonly bin: string }>;
