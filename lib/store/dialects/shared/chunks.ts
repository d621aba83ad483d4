/**
 * Characters of values that one statement holds: a server takes 16 MB by default, and text that is
 * written as bytes is two to six times as long.
 */
const MOST_CHARACTERS = 1_000_000;

/** Items in their order, so many and so long that one statement takes them. */
export function chunks<T>(
  items: readonly T[],
  most: number,
  lengthOf: (item: T) => number,
): readonly (readonly T[])[] {
  const parts: T[][] = [];
  let characters = 0;
  for (const item of items) {
    const length = lengthOf(item);
    const last = parts.at(-1);
    if (last === undefined || last.length === most || characters + length > MOST_CHARACTERS) {
      parts.push([item]);
      characters = length;
    } else {
      last.push(item);
      characters += length;
    }
  }
  return parts;
}
