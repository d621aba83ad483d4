const MOST_NAMED = 3;

/**
 * Says once what failed for many jobs in the same moment: a database that cannot be written fails
 * everything that waits for it.
 */
export class FailedJobs {
  readonly #say: (text: string) => void;
  readonly #what: string;
  #names: string[] = [];
  #count = 0;

  /** `what` could not be done, as in `could not be ${what}`. */
  constructor(say: (text: string) => void, what: string) {
    this.#say = say;
    this.#what = what;
  }

  add(name: string, error: unknown): void {
    if (this.#count === 0) {
      // All that were refused with it come before; a process that has closed may end right after.
      queueMicrotask(() => this.#tell(error));
    }
    this.#count += 1;
    if (this.#names.length < MOST_NAMED) {
      this.#names.push(name);
    }
  }

  #tell(error: unknown): void {
    const names = this.#names.join(', ');
    this.#say(
      this.#count === 1
        ? `Job ${names} could not be ${this.#what}; it comes back when its lease ends. ${String(error)}`
        : `${this.#count} jobs could not be ${this.#what} (${names}${this.#count > MOST_NAMED ? ', …' : ''}); they come back when their leases end. ${String(error)}`,
    );
    this.#count = 0;
    this.#names = [];
  }
}
