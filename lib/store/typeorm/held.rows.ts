import type { Row } from '../dialects/sql.js';
import type { HeldRun, MissedRun } from '../store.js';

/**
 * What a renewal has passed over, of rows with the run, as {@link heldOfRow} takes it, and its lease. One
 * that was claimed a moment ago is not meant.
 */
export function missedOf(
  rows: readonly Row[],
  leaseAt: number,
  leaseMs: number,
  nowMs: number,
): readonly MissedRun[] {
  const fresh = nowMs + leaseMs * 0.9;
  return rows
    .map((row) => ({ ...heldOfRow(row), leaseUntilMs: Number(row[leaseAt]) }))
    .filter(({ leaseUntilMs }) => leaseUntilMs < fresh);
}

/** A run by the columns that renewals and looks select. */
export function heldOfRow(row: Row): HeldRun {
  return {
    id: String(row[0]),
    runId: String(row[1]),
    status: row[2] as HeldRun['status'],
    lockedBy: row[3] === null ? null : String(row[3]),
    timeoutSec: Number(row[4]),
  };
}
