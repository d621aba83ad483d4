/** Until when a job holds its unique key: its first claim, or its end. */
export type UniqueUntil = 'started' | 'final';

/** What happens to a job whose unique key another one holds. */
export type UniqueConflict = 'reject' | 'return' | 'replace';

/** A unique key as a job to be stored claims it. */
export interface UniqueClaim {
  /** Unique within the tenant. */
  readonly key: string;
  readonly until: UniqueUntil;
  /** It is held for at least that long from the enqueue on; 0 is no longer than `until`. */
  readonly withinMs: number;
  readonly onConflict: UniqueConflict;
}
