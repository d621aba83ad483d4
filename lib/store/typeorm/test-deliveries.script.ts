import { JobDeliveryEntity } from '../../entities/job-delivery.entity.js';
import { CHANGES_SQL, query, type Script } from '../dialects/sql.js';
import { DELIVERY_COLUMNS } from './delivery.scripts.js';
import type { TableNames } from './table-names.js';

/** Tests of an endpoint are shown for so long, and so many of them. */
const KEPT_MS = 7 * 86_400_000;
const MOST = 100;

/** Stores the test of an endpoint, which is a delivery of no job; older ones make room. */
export function* recordTest(
  t: TableNames,
  given: JobDeliveryEntity,
  nowMs: number,
): Script<JobDeliveryEntity> {
  const made = Object.assign(new JobDeliveryEntity(), given);
  made.createdAtMs = nowMs;
  made.updatedAtMs = nowMs;
  made.sequence = nowMs;
  const there = yield* query(`SELECT 1 FROM ${t.webhooks} WHERE id = ? ${t.words.forUpdate}`, [
    made.target,
  ]);
  if (there.length === 0) {
    return made; // It was deleted meanwhile, with all that it was sent.
  }
  const [last] = yield* query(
    `SELECT sequence FROM ${t.deliveries} WHERE job_seq = 0 AND target = ?
     ORDER BY sequence DESC LIMIT 1 OFFSET ${MOST - 1}`,
    [made.target],
  );
  yield* query(`DELETE FROM ${t.deliveries} WHERE job_seq = 0 AND target = ? AND sequence < ?`, [
    made.target,
    Math.max(nowMs - KEPT_MS, last === undefined ? 0 : Number(last[0]) + 1),
  ]);
  while (!(yield* isInserted(t, made))) {
    made.sequence += 1; // Another test has that time.
  }
  return made;
}

function* isInserted(t: TableNames, made: JobDeliveryEntity): Script<boolean> {
  const { id, target, sequence, tenantId, event, status, attempts, answer } = made;
  yield* query(
    t.words.insertNew(
      `INSERT INTO ${t.deliveries} (${DELIVERY_COLUMNS.join(', ')})
       VALUES (?, ?, NULL, NULL, 0, ?, NULL, ?, ?, NULL, ?, ?, 0, NULL, NULL, ?, ?, ?)`,
      'job_seq, target, sequence',
    ),
    [
      id,
      target,
      sequence,
      tenantId,
      event,
      status,
      attempts,
      made.createdAtMs,
      made.updatedAtMs,
      answer,
    ],
  );
  const [changes] = yield* query(CHANGES_SQL);
  return Number(changes?.[0]) === 1;
}
