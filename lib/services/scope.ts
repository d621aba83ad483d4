/** Whose jobs an operation may touch. */
export interface Scope {
  /** Only this tenant's; a job of another one is `not_found`. @default every tenant's */
  readonly tenantId?: string;
}

/** An operation's scope, reason and actor. */
export interface ReasonOptions extends Scope {
  /** Goes to the job's `details`. */
  readonly reason?: string;
  /** Who asked: it stands in the event that the operation becomes. */
  readonly actor?: string;
}
