/** Sums by key; a key whose sum is nothing is forgotten. */
export class Counts {
  readonly #sums = new Map<string, number>();

  of(key: string): number {
    return this.#sums.get(key) ?? 0;
  }

  add(key: string, by: number): void {
    const sum = this.of(key) + by;
    if (sum <= 0) {
      this.#sums.delete(key);
    } else {
      this.#sums.set(key, sum);
    }
  }

  entries(): IterableIterator<[key: string, sum: number]> {
    return this.#sums.entries();
  }
}
