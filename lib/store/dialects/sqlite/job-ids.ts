import { randomHigh, randomLow, uuidOf, uuidParts } from '../../../model/id.js';
import { msOfSeq, PER_MS } from '../shared/row-numbers.js';

/**
 * An id as a row holds it: the time and the count are the row number, so two numbers remain, which
 * are a quarter of the text.
 */
export interface JobId {
  readonly id: string;
  readonly high: number;
  readonly low: number;
}

/** A new id for the job of a row. */
export function newJobId(seq: number): JobId {
  const high = randomHigh();
  const low = randomLow();
  return { id: jobIdOf(seq, high, low), high, low };
}

/** The id of a row. */
export function jobIdOf(seq: number, high: number, low: number): string {
  return uuidOf(msOfSeq(seq), seq % PER_MS, high, low);
}

/** An id that a job brings along. */
export function givenJobId(id: string): JobId {
  const parts = uuidParts(id);
  return { id, high: parts?.high ?? 0, low: parts?.low ?? 0 };
}

/** The same as {@link jobIdOf} in SQL, for the columns `seq`, `id_high` and `id_low`. */
export function jobIdSql(msSql: string): string {
  return `printf('%08x-%04x-7%03x-%04x-%04x%08x', ${msSql} >> 16, ${msSql} & 65535, seq & 4095,
      32768 | (id_high >> 16), id_high & 65535, id_low & 4294967295)`;
}
