import type { JobDeliveryEntity } from '../../entities/job-delivery.entity.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import { query, type Script } from '../dialects/sql.js';
import { STATUS_HOOK, type DeliveryQuery } from '../webhooks.js';
import { DELIVERY_COLUMNS, deliveryOfRow } from './delivery.scripts.js';
import type { TableNames } from './table-names.js';

const COLUMNS = DELIVERY_COLUMNS.join(', ');
const STATUSES = ['pending', 'delivered', 'failed'] as const;
/** Sorts behind all ids. */
const NO_ID = '~';

/** A page of deliveries, the newest first. */
export function* listDeliveries(
  t: TableNames,
  request: DeliveryQuery,
): Script<readonly JobDeliveryEntity[]> {
  const { of } = request;
  return 'hookOfJob' in of
    ? yield* listOfHook(t, seqOfId(of.hookOfJob) ?? -1, request)
    : yield* listOfEndpoint(t, of.endpoint, request);
}

/** One range of the index for each status. */
function* listOfEndpoint(
  t: TableNames,
  id: string,
  { status, limit, before = NO_ID }: DeliveryQuery,
): Script<readonly JobDeliveryEntity[]> {
  const byTarget = t.words.using(t.index('job_deliveries_target'));
  const found: JobDeliveryEntity[] = [];
  for (const one of status === undefined ? STATUSES : [status]) {
    const rows = yield* query(
      `SELECT ${COLUMNS} FROM ${t.deliveries}${byTarget}
       WHERE ${t.words.pageOf(['target', 'status', 'id'])} ${t.words.limit}`,
      [id, one, id, one, before, limit],
    );
    found.push(...rows.map(deliveryOfRow));
  }
  return found.toSorted((a, b) => (a.id < b.id ? 1 : -1)).slice(0, limit);
}

/** What a job has of them is sorted. */
function* listOfHook(
  t: TableNames,
  jobSeq: number,
  { status, limit, before = NO_ID }: DeliveryQuery,
): Script<readonly JobDeliveryEntity[]> {
  const byJob = t.words.using(t.index('job_deliveries_order'));
  const ofStatus = status === undefined ? '' : 'status = ? AND ';
  const rows = yield* query(
    `SELECT ${COLUMNS} FROM ${t.deliveries}${byJob}
     WHERE ${ofStatus}${t.words.pageOf(['job_seq', 'target', 'id'])} ${t.words.limit}`,
    [
      ...(status === undefined ? [] : [status]),
      ...[jobSeq, STATUS_HOOK, jobSeq, STATUS_HOOK],
      before,
      limit,
    ],
  );
  return rows.map(deliveryOfRow);
}
