import type { TableSpec } from './table.js';

/**
 * Who claimed a unique key last. Nothing is written when a job starts or ends: whether it still holds
 * the key is seen by the job itself, when somebody else wants it.
 */
export const UNIQUES: TableSpec = {
  columns: {
    tenant_id: ['varied', 64],
    unique_key: ['varied', 255],
    job_seq: 'number',
    job_id: 'id',
    held_until: ['word', 7],
    within_until_ms: 'number',
  },
  key: ['tenant_id', 'unique_key'],
  // By it retention knows the jobs that are still named by a key.
  indexes: { job_uniques_job: { columns: ['job_seq'] } },
};
