/** So often a process looks whether another one has written something. */
const EVERY_MS = 500;
/** Stores of one process tell each other, at most so often. */
const SOON_MS = 4;

type Listener = () => void;

/** The stores of this process, by their tables; the key is a symbol because both formats share it. */
const HERE = Symbol.for('nestjs-jobs:mysql-stores');

/**
 * Hints between processes on a server that has none: each looks twice a second, not all at the same
 * moment. What one application writes others in the same process hear of at once.
 */
export class Poll {
  readonly #key: string;
  readonly #hint: Listener;
  #floor: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(key: string, hint: Listener) {
    this.#key = key;
    this.#hint = hint;
  }

  start(): void {
    const known = stores().get(this.#key) ?? new Set();
    stores().set(this.#key, known.add(this.#soon));
    this.#wait();
  }

  /** Something has been committed that others may want to know. */
  tell(): void {
    for (const soon of stores().get(this.#key) ?? []) {
      if (soon !== this.#soon) {
        soon();
      }
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#floor);
    clearTimeout(this.#timer);
    const known = stores().get(this.#key);
    known?.delete(this.#soon);
    if (known?.size === 0) {
      stores().delete(this.#key);
    }
  }

  readonly #soon = (): void => {
    if (this.#timer === undefined && !this.#isClosed) {
      this.#timer = setTimeout(() => {
        this.#timer = undefined;
        this.#hint();
      }, SOON_MS);
      this.#timer.unref();
    }
  };

  #wait(): void {
    this.#floor = setTimeout(
      () => {
        this.#hint();
        this.#wait();
      },
      EVERY_MS * (0.8 + Math.random() * 0.4),
    );
    this.#floor.unref();
  }
}

function stores(): Map<string, Set<Listener>> {
  const known = Reflect.get(globalThis, HERE) as Map<string, Set<Listener>> | undefined;
  if (known !== undefined) {
    return known;
  }
  const made = new Map<string, Set<Listener>>();
  Reflect.set(globalThis, HERE, made);
  return made;
}
