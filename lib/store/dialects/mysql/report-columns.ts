import type { RunReport } from '../../store.js';

const TEXT = 'LONGTEXT CHARACTER SET utf8mb4';

/** What a report may say anew, and where it goes. */
export const REPORTED = [
  { property: 'progress', column: 'progress', type: 'DOUBLE' },
  { property: 'completed', column: 'completed', type: 'DOUBLE' },
  { property: 'total', column: 'total', type: 'DOUBLE' },
  { property: 'message', column: 'progress_details', type: TEXT },
  { property: 'etaMs', column: 'eta_ms', type: 'BIGINT' },
  { property: 'state', column: 'state', type: TEXT },
  { property: 'result', column: 'result', type: TEXT },
  { property: 'maxRetries', column: 'max_retries', type: 'INT' },
  { property: 'retryDelaySec', column: 'retry_delay_sec', type: 'DOUBLE' },
  { property: 'timeoutSec', column: 'timeout_sec', type: 'DOUBLE' },
] as const satisfies readonly {
  property: keyof RunReport;
  column: string;
  type: string;
}[];

/** A report as a row of `JSON_TABLE`. */
export function reportAsArray(report: RunReport): readonly unknown[] {
  const { seq, runId, startedAtMs } = report;
  return [
    seq,
    runId,
    startedAtMs ?? null,
    ...REPORTED.map(({ property }) => report[property] ?? null),
  ];
}

/** The columns of such rows. */
export const REPORT_COLUMNS = [
  ['seq', 'BIGINT'],
  ['run_id', 'VARCHAR(36)'],
  ['started_at_ms', 'BIGINT'],
  ...REPORTED.map(({ column, type }) => [column, type]),
]
  .map(([column, type], at) => `${column} ${type} PATH '$[${at}]'`)
  .join(', ');
