import type { TestServer } from './servers.d.mts';

/** Where the server's programs are; undefined when they are not there. */
export function mariadbBinaries(): object | undefined;
/** Starts a server; `durable` keeps its promises over a crash. */
export function startMariadb(options?: {
  readonly durable?: boolean;
  readonly settings?: readonly string[];
}): Promise<TestServer>;
