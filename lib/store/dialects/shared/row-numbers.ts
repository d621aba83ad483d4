import { EARLIEST_ID_MS, uuidAt, uuidParts, type UuidParts } from '../../../model/id.js';

const EPOCH_MS = EARLIEST_ID_MS;
/** So many row numbers share a millisecond. */
export const PER_MS = 4096;

/**
 * A job's row number is the time in its id: the first sixty bits of the UUID, counted from 2024, so
 * that it fits into the integers of JavaScript until 2093. The id needs no index of its own, rows
 * lie in the order in which they were enqueued, and that order is also the order of ids and of
 * `scheduled_at`.
 */
export function seqOfId(id: string): number | undefined {
  const parts = uuidParts(id);
  return parts === undefined ? undefined : seqOfParts(parts);
}

/** The same of an id that was taken apart. */
export function seqOfParts({ ms, twelveBits }: UuidParts): number | undefined {
  const seq = (ms - EPOCH_MS) * PER_MS + twelveBits;
  return seq >= 0 && Number.isSafeInteger(seq) ? seq : undefined;
}

/** A new id for the job of a row. */
export function idOfSeq(seq: number): string {
  return uuidAt(msOfSeq(seq), seq % PER_MS);
}

/** When the job of a row was enqueued, in Unix milliseconds of the database. */
export function msOfSeq(seq: number): number {
  return EPOCH_MS + Math.floor(seq / PER_MS);
}

/** The first row number of that millisecond. */
export function seqOfMs(ms: number): number {
  return (ms - EPOCH_MS) * PER_MS;
}

/** The same as {@link msOfSeq} in SQL, of a column or an expression. */
export function msOfSeqSql(seq: string): string {
  return `((${seq} >> 12) + ${EPOCH_MS})`;
}
