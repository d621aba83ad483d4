import type { JobExtrasEntity } from '../../entities/job-extras.entity.js';
import { JobEntity } from '../../entities/job.entity.js';
import { isFinal, type JobStatus } from '../../model/job-status.js';
import { query, type Row, type Script } from '../dialects/sql.js';
import { seqOfId } from '../dialects/shared/row-numbers.js';
import type { RelatedJobs, WaitingPage } from '../store.js';
import { readBeside } from './beside.script.js';
import { dependenciesOf, isDone } from './dependency-verdict.js';
import { ALL_JOB_COLUMNS, jobOfRow } from './job.columns.js';
import type { TableNames } from './table-names.js';

const MOST = 1000;
const WAITING_AT_ONCE = 1000;
/** Most have few that wait for them. */
const FEW_PARENTS = 8;

/** What some jobs depend on, besides what is known, as far as there is room for. */
function namedBy(
  jobs: readonly JobEntity[],
  known: ReadonlyMap<string, JobEntity>,
  room = Infinity,
): readonly string[] {
  const named = new Set<string>();
  for (const job of jobs) {
    for (const { id } of named.size < room ? dependenciesOf(job) : []) {
      if (named.size < room && !known.has(id)) {
        named.add(id);
      }
    }
  }
  return [...named];
}

/** Those of the jobs that are there, in this order; what stands beside them only if that is looked at. */
function* readInOrder(
  t: TableNames,
  ids: readonly string[],
  isMore: boolean,
): Script<readonly JobEntity[]> {
  const rows = yield* query(
    `SELECT ${ALL_JOB_COLUMNS} FROM ${t.jobs} WHERE seq ${t.words.amongNumbers}`,
    [JSON.stringify(ids.map((id) => seqOfId(id) ?? -1))],
  );
  const jobs = rows.map(jobOfRow);
  const byId = new Map((isMore ? yield* readBeside(t, jobs) : jobs).map((job) => [job.id, job]));
  return ids.flatMap((id) => byId.get(id) ?? []);
}

/** What stands beside a job's row, and the jobs that it depends on as far as they can be told of. */
export function* besideAndParents(
  t: TableNames,
  job: JobEntity,
): Script<{ beside: JobExtrasEntity | undefined; parents: ReadonlyMap<string, JobEntity> }> {
  const [found] = yield* readBeside(t, [Object.assign(new JobEntity(), job)]);
  const ids = found === undefined ? [] : dependenciesOf(found).map(({ id }) => id);
  const rows =
    ids.length === 0
      ? []
      : yield* query(`SELECT ${ALL_JOB_COLUMNS} FROM ${t.jobs} WHERE seq ${t.words.amongNumbers}`, [
          JSON.stringify(ids.map((id) => seqOfId(id) ?? -1)),
        ]);
  const parents = rows.map(jobOfRow).map((parent) => [parent.id, parent] as const);
  return { beside: found?.beside, parents: new Map(parents) };
}

/** What a job has to do with others, level by level as far as failures lead. */
export function* relatedJobs(t: TableNames, job: JobEntity): Script<RelatedJobs> {
  const ancestors = new Map<string, JobEntity>();
  // All that it depends on itself; of what is behind those as many as there is room for.
  let named = namedBy([job], ancestors);
  while (named.length > 0) {
    const room = MOST - ancestors.size - named.length;
    const found = yield* readInOrder(t, named, room > 0);
    found.forEach((each) => ancestors.set(each.id, each));
    const failed = found.filter(({ status }) => isFinal(status) && !isDone(status));
    named = room > 0 ? namedBy(failed, ancestors, room) : [];
  }
  const rows = yield* query(
    `SELECT ${ALL_JOB_COLUMNS} FROM ${t.jobs} WHERE seq IN (SELECT child_seq FROM (
       SELECT child_seq FROM ${t.dependencies} WHERE parent_seq = ? ORDER BY child_seq LIMIT ${MOST}) AS first)`,
    [job.seq],
  );
  const dependents = yield* readBeside(
    t,
    rows.map(jobOfRow).toSorted((a, b) => a.seq - b.seq),
  );
  return { ancestors, dependents };
}

/** Jobs that have not ended and wait for these, in the order of rows. */
export function* waitingFor(
  t: TableNames,
  parents: readonly number[],
  [parent, child]: readonly [number, number],
): Script<WaitingPage> {
  const rows: Row[] = [];
  const later = parents.filter((each) => each > parent).toSorted((a, b) => a - b);
  if (parent >= 0) {
    rows.push(...(yield* waitingForOne(t, parent, child, WAITING_AT_ONCE)));
  }
  // Of several at a time, as many as fit: no page reads again what another one has read.
  for (let [at, count] = [0, FEW_PARENTS]; at < later.length && rows.length < WAITING_AT_ONCE;) {
    const [first = -1, ...others] = later.slice(at, at + count);
    const room = WAITING_AT_ONCE - rows.length;
    const found =
      others.length === 0
        ? yield* waitingForOne(t, first, -1, room)
        : yield* waitingForSome(t, [first, ...others], room + 1);
    if (found.length <= room) {
      rows.push(...found);
      at += 1 + others.length;
      count *= 2;
    } else {
      count = Math.ceil(others.length / 2);
    }
  }
  const last = rows.at(-1);
  return {
    waiting: rows.map((row) => ({
      parent: Number(row[0]),
      seq: Number(row[1]),
      job: { id: String(row[2]), type: String(row[3]), status: row[4] as JobStatus },
    })),
    next:
      last === undefined || rows.length < WAITING_AT_ONCE
        ? undefined
        : [Number(last[0]), Number(last[1])],
  };
}

const waitingColumns = 'edge.parent_seq, edge.child_seq, child.job_id, child.type, child.status';

function* waitingForOne(
  t: TableNames,
  parent: number,
  after: number,
  most: number,
): Script<readonly Row[]> {
  return yield* query(
    `SELECT ${waitingColumns}
     FROM ${t.dependencies} AS edge${t.words.using(undefined)} JOIN ${t.jobs} AS child ON child.seq = edge.child_seq
     WHERE edge.parent_seq = ? AND edge.child_seq > ? AND child.finished_at_ms IS NULL
     ORDER BY edge.child_seq ${t.words.limit}`,
    [parent, after, most],
  );
}

/** Unless they are as many as asked for, all there are: so many in order would take reading all first. */
function* waitingForSome(
  t: TableNames,
  parents: readonly number[],
  most: number,
): Script<readonly Row[]> {
  const rows = yield* query(
    `SELECT ${waitingColumns}
     FROM ${t.dependencies} AS edge${t.words.using(undefined)} JOIN ${t.jobs} AS child ON child.seq = edge.child_seq
     WHERE edge.parent_seq ${t.words.amongNumbers} AND child.finished_at_ms IS NULL ${t.words.limit}`,
    [JSON.stringify(parents), most],
  );
  return rows.toSorted(
    ([a, one], [b, other]) => Number(a) - Number(b) || Number(one) - Number(other),
  );
}
