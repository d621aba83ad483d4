/** A database server of a test run. */
export interface TestServer {
  readonly url: string;
  readonly pid: number;
  /** Ends it and keeps its data: SIGINT or SIGTERM in order, SIGKILL as a crash does. */
  end(signal: NodeJS.Signals): Promise<void>;
  /** Starts it again where it was. */
  start(): Promise<void>;
  /** Ends it for good. */
  stop(): Promise<void>;
}

export function freePort(): Promise<number>;
export function ordinaryUser(names: readonly string[]): {
  readonly uid?: number;
  readonly gid?: number;
};
