/** `readyAs` of `job-of-draft.ts` in SQL. */
export const READY = 'CASE WHEN limit_key IS NULL THEN 1 ELSE 2 END';
