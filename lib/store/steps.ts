/**
 * What a job remembers of its handler: a step that is done, a transaction inside a step that is not,
 * a sleep, a wait for a signal.
 */
export type StepKind = 'step' | 'write' | 'sleep' | 'signal';

/** By what a memory is found again: the `part`-th of its kind and name. */
export interface StepKey {
  readonly kind: StepKind;
  readonly name: string;
  readonly part: number;
}

/** What is stored of one. */
export interface StepMemory extends StepKey {
  /** A sleep or a wait that is not done goes on. */
  readonly isDone: boolean;
  /** JSON text; null for undefined. One that is long is read by itself: then it is not here. */
  readonly result?: string | null;
}

/** Whose memory it is; nothing is written when the run holds its job no more. */
export interface StepRun {
  /** The job's. */
  readonly seq: number;
  readonly runId: string;
  /** Nothing is known to be stored for the job so far. */
  readonly isFirst: boolean;
}

/** Something that is done. */
export interface StepRecord extends StepRun, StepKey {
  readonly result: string | null;
  /** Transactions of this step are stored, which are needed no more. */
  readonly hasWrites: boolean;
}

/** A sleep, or a wait for a signal. */
export interface StepWait extends StepRun, StepKey {
  /** Counted from its beginning; undefined = without end. */
  readonly forMs: number | undefined;
}

/** What a wait has come to. */
export type Waited =
  | { readonly state: 'lost' }
  | { readonly state: 'over'; readonly result: string | null }
  | { readonly state: 'pending'; readonly untilMs: number | undefined };

/** What jobs remember of their handlers. */
export interface StepStore {
  /** All that is stored for a job. */
  recall(seq: number): Promise<readonly StepMemory[]>;
  /** The result of one of them. */
  resultOf(seq: number, key: StepKey): Promise<string | null>;
  /** Stores what is done; false when the run holds its job no more. */
  remember(record: StepRecord): Promise<boolean>;
  /**
   * Begins a wait, or looks whether one that began earlier is over. A signal is taken and remembered
   * as received in one transaction, so that it is received once.
   */
  wait(wait: StepWait): Promise<Waited>;
}

/** What somebody sends to a job. */
export interface SentSignal {
  readonly name: string;
  /** JSON text. */
  readonly payload: string;
}
