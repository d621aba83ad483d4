import { EXTRA } from '../../../model/extras.js';
import type { TableNames } from '../../typeorm/table-names.js';

/**
 * What `extras` of a row says, with whether other jobs wait for it. Marking that in the rows would write
 * a page for each of them; the edges are a step into an index away, and where one writes at a time
 * nobody begins to wait between a look and a write.
 */
export function extrasSql(t: TableNames, row: string): string {
  return `CASE WHEN ${hasDependentsSql(t, row)} THEN COALESCE(${row}.extras, 0) | ${EXTRA.dependents} ELSE ${row}.extras END`;
}

/** Whether other jobs wait, or have waited, for the job of a row. */
function hasDependentsSql(t: TableNames, row: string): string {
  return `EXISTS (SELECT 1 FROM ${t.dependencies} AS edge WHERE edge.parent_seq = ${row}.seq)`;
}

/** That nobody waits for the job of a row; whether anybody waits for any is asked once a statement. */
export function nobodyWaitsSql(t: TableNames, row: string): string {
  return `(NOT EXISTS (SELECT 1 FROM ${t.dependencies}) OR NOT ${hasDependentsSql(t, row)})`;
}
