import { quietly, type Script, type TimedScript } from './dialects/sql.js';

/**
 * Work of one kind that may share a statement: whatever arrives while a write is under way goes
 * out together in the next one.
 */
export interface BatchKind<I, O> {
  readonly name: string;
  /** Kinds of one transaction run in this order. */
  readonly rank: number;
  /** The most items of one transaction, which bounds how long the lock is held. */
  readonly maxItems: number;
  /** Whether doing it twice is as good as once, so that it is done again when an answer was lost. */
  readonly isRepeatable?: true;
  /** Whether no other process needs to hear of it at once. */
  readonly isQuiet?: boolean;
  /** Work with the same number is done in order, also when some of it has to wait alone. */
  orderOf?(item: I): number;
  /** The rows that the work needs of others, where {@link Held} may be said of it. */
  needs?(item: I): readonly number[];
  /** What does the same once a lock was met, and waits for none; where it is another kind. */
  readonly passing?: BatchKind<I, O | Held>;
  /** One result an item, in order. */
  script(items: readonly I[], nowMs: number): Script<readonly O[]>;
}

/** What a script says of work that it has not done, as somebody else has locked a row that it needs. */
export class Held {
  readonly row: number;

  constructor(row: number) {
    this.row = row;
  }
}

/** How long work may wait for the lock. */
export type Patience =
  /** A caller waits: `database_busy` after five seconds. */
  | 'caller'
  /** The engine's own work: tried again until it succeeds or the store closes. */
  | 'engine';

/** Methods, not functions: what goes into the queue is handed back only to its own kind and promise. */
export interface Pending {
  readonly kind: BatchKind<unknown, unknown>;
  readonly item: unknown;
  readonly patience: Patience;
  readonly since: number;
  /** It may be done already: it is not given up before that is known. */
  readonly isUncertain?: true;
  /** The row that it waits for, where that is known. */
  readonly heldBy?: number;
  resolve(result: unknown): void;
  reject(error: unknown): void;
}

/** What the item must not overtake others of, if anything. */
export function orderOf(pending: Pending): number | undefined {
  return pending.kind.orderOf?.(pending.item);
}

/** What holds an item back: a row that others have locked, or that others of its order wait for. */
export function obstacleOf(pending: Pending, rows: ReadonlySet<number>): number | undefined {
  const order = orderOf(pending);
  return order !== undefined && rows.has(order)
    ? order
    : pending.kind.needs?.(pending.item).find((row) => rows.has(row));
}

/** The same item under a kind of its own, so that it shares no statement. */
export function alone(pending: Pending): Pending {
  const { kind } = pending;
  return {
    ...pending,
    kind: { ...kind, maxItems: 1 },
  };
}

/** The same item, so that it stands in nobody's way while it cannot be done. */
export function aside(pending: Pending): Pending {
  const { passing } = pending.kind;
  return passing === undefined ? alone(pending) : { ...pending, kind: passing };
}

/** Items of one kind, and what writes them. */
export interface Work {
  readonly script: TimedScript<readonly unknown[]>;
  readonly items: readonly Pending[];
}

/** What writes items of a kind. */
export function scriptOf(
  kind: BatchKind<unknown, unknown>,
  items: readonly Pending[],
): Work['script'] {
  const script = (nowMs: number) =>
    kind.script(
      items.map((each) => each.item),
      nowMs,
    );
  return kind.isQuiet === true ? quietly(script) : script;
}

/** The same work, where what can be done twice is perhaps done: from now on it is looked for. */
export function doubted({ script, items }: Work): Work {
  return {
    script,
    items: items.map((each) =>
      each.kind.isRepeatable === true && each.patience === 'caller' && each.isUncertain !== true
        ? { ...each, isUncertain: true, since: performance.now() }
        : each,
    ),
  };
}
