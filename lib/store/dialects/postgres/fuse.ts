import type { Statement } from '../sql.js';

const texts = new Map<string, Map<string, string>>();

/**
 * The end of a batch of runs and the claim of the next, as one statement: one message there and
 * back and one commit instead of four and one. They touch different rows, so that it does not
 * matter that both see the table as it was before.
 */
export function fuse(ahead: Statement, behind: Statement): Statement {
  return { sql: textOf(ahead.sql, behind.sql), params: [...ahead.params, ...behind.params] };
}

function textOf(ahead: string, behind: string): string {
  let known = texts.get(ahead);
  if (known === undefined) {
    known = new Map();
    texts.set(ahead, known);
  }
  let text = known.get(behind);
  if (text === undefined) {
    text = `${behind.replace(/^WITH (RECURSIVE )?/, (given) => `${given}ended AS (${ahead} RETURNING 1), `)}, (SELECT count(*) FROM ended)`;
    known.set(behind, text);
  }
  return text;
}
