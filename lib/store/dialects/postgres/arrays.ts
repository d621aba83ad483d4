/** An array of numbers as PostgreSQL reads it from text. */
export function numbers(values: readonly (number | null | undefined)[]): string {
  return `{${values.map((value) => value ?? 'NULL').join(',')}}`;
}

/** An array of texts as PostgreSQL reads it from text. */
export function texts(values: readonly (string | null | undefined)[]): string {
  let text = '{';
  for (const [at, value] of values.entries()) {
    if (at > 0) {
      text += ',';
    }
    text += value === null || value === undefined ? 'NULL' : quoted(value);
  }
  return `${text}}`;
}

const SPECIAL = /["\\]/;

function quoted(value: string): string {
  return SPECIAL.test(value)
    ? `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
    : `"${value}"`;
}

const BETWEEN = '\u0001';
const NONE = '\u0002';

/**
 * Texts without control characters, such as ids and JSON, in one: taking it apart at a character
 * costs both sides less than quotes do. Read by {@link JOINED}; at least one, none of them empty.
 */
export function joined(values: readonly (string | null)[]): string {
  return values.includes(null)
    ? values.map((each) => each ?? NONE).join(BETWEEN)
    : values.join(BETWEEN);
}

/** The array of a parameter made by {@link joined}; of NULL there is none. */
export const JOINED = 'string_to_array(?::text, chr(1), chr(2))';
