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
