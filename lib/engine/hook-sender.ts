import type { Duty } from './loop.js';

/** Who tells others over the network what happens to jobs. */
export interface HookSender {
  /** Sends what is on its way; runs where jobs are run. */
  readonly duty: Duty;
  /** A URL that a job of a tenant may have for its status hook. @throws JobsError `invalid_request` */
  checkedHook(url: unknown, field: string, tenantId: string): string;
  /** The database has been opened. */
  opened(): Promise<void>;
  /** Calls this when there may be more to send. */
  onMore(wake: () => void): void;
  /** Ends what is under way; what cannot be waited for is sent again by somebody else. */
  stop(): Promise<void>;
}
