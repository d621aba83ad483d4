const MOST_NAMED = 3;

/**
 * Says once what failed for many jobs in the same moment: a database that cannot be written fails
 * everything that waits for it.
 */
export class FailedJobs {
  readonly #say: (text: string) => void;
  readonly #sentence: (jobs: string, isOne: boolean) => string;
  #names: string[] = [];
  #count = 0;

  /** `sentence` says what failed, of jobs such as `Job a` or `50 jobs (a, b, c, …)`. */
  constructor(say: (text: string) => void, sentence: (jobs: string, isOne: boolean) => string) {
    this.#say = say;
    this.#sentence = sentence;
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
    const isOne = this.#count === 1;
    const jobs = isOne
      ? `Job ${names}`
      : `${this.#count} jobs (${names}${this.#count > MOST_NAMED ? ', …' : ''})`;
    this.#say(`${this.#sentence(jobs, isOne)} ${String(error)}`);
    this.#count = 0;
    this.#names = [];
  }
}

/** Of something that the job goes on without. */
export function notStored(what: string): (jobs: string) => string {
  return (jobs) => `${what} of ${jobs.replace('Job', 'job')} was not stored:`;
}

/** Of jobs that keep their lease until it ends. */
export function comesBack(what: string): (jobs: string, isOne: boolean) => string {
  return (jobs, isOne) =>
    isOne
      ? `${jobs} could not be ${what}; it comes back when its lease ends.`
      : `${jobs} could not be ${what}; they come back when their leases end.`;
}
