/** The text with every lone surrogate replaced and NUL shown, so that every database stores it alike. */
export function storableText(text: string): string {
  const wellFormed = LONE_SURROGATE.test(text) ? text.replace(LONE_SURROGATES, '\uFFFD') : text;
  return wellFormed.includes('\0') ? wellFormed.replaceAll('\0', '\uFFFD') : wellFormed;
}

const LONE_SURROGATE = /\p{Surrogate}/u;
const LONE_SURROGATES = /\p{Surrogate}/gu;

/**
 * One line whatever the text holds: nothing in it acts on the terminal that shows it, turns the order
 * of letters round, or begins a line that looks like another entry.
 */
export function plainLine(text: string): string {
  return text.replace(ACTING, escaped);
}

/** The same of a stack, whose lines are kept. */
export function plainLines(text: string): string {
  return text.replace(ACTING, (char) => (char === '\n' || char === '\t' ? char : escaped(char)));
}

/** Controls (C0 and C1), what reverses the order of text, and line ends of Unicode. */
const ACTING = /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/gu;

function escaped(char: string): string {
  return char === '\n' ? '\\n' : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** The text cut to a number of UTF-8 bytes on a character's boundary; a cut says so at its end. */
export function cutText(text: string, maxBytes: number): string {
  if (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes) {
    return text;
  }
  const mark = ' … [cut]';
  const bytes = Buffer.from(text).subarray(0, Math.max(0, maxBytes - Buffer.byteLength(mark)));
  return bytes.toString('utf8').replace(/\uFFFD+$/u, '') + mark;
}

/** What was thrown, as text with its stack: an Error, a string, null, a cyclic object, anything. */
export function describeThrown(thrown: unknown): string {
  try {
    return described(thrown);
  } catch {
    // Its getters throw, or its traps do.
    return 'Thrown: something whose text cannot be read.';
  }
}

function described(thrown: unknown): string {
  if (thrown instanceof Error) {
    const head = `${thrown.name}: ${thrown.message}`;
    const stack = typeof thrown.stack === 'string' ? thrown.stack : '';
    const text =
      stack.includes(thrown.message) && stack !== '' ? stack : `${head}\n${stack}`.trim();
    return thrown.cause === undefined
      ? text
      : `${text}\nCaused by: ${describeCause(thrown.cause, 4)}`;
  }
  if (typeof thrown === 'string') {
    return thrown;
  }
  return describeValue(thrown);
}

function describeCause(cause: unknown, depth: number): string {
  if (!(cause instanceof Error)) {
    return describeValue(cause);
  }
  const text = `${cause.name}: ${cause.message}`;
  return cause.cause === undefined || depth === 0
    ? text
    : `${text}\nCaused by: ${describeCause(cause.cause, depth - 1)}`;
}

function describeValue(value: unknown): string {
  if (typeof value !== 'object' || value === null) {
    return `Thrown: ${String(value)}`;
  }
  try {
    return `Thrown: ${JSON.stringify(value)}`;
  } catch {
    return `Thrown: ${Object.prototype.toString.call(value)} (cannot be shown as JSON)`;
  }
}

/** Characters of a channel's name, at the most. */
export const LONGEST_CHANNEL = 64;

const UNSTORABLE = /[\0]|\p{Surrogate}/u;

/** Whether it is a text of so many characters, none of which a database refuses. */
export function isPlainText(value: unknown, least: number, most: number): value is string {
  return (
    typeof value === 'string' &&
    value.length >= least &&
    (value.length <= most || [...value].length <= most) &&
    !UNSTORABLE.test(value)
  );
}
