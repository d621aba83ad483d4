import { createHash } from 'node:crypto';
import type { JobEventEntity } from '../../entities/job-event.entity.js';
import type { JobEntity } from '../../entities/job.entity.js';
import { EXTRA, hasExtra } from '../../model/extras.js';
import { newId } from '../../model/id.js';
import { saidOf } from '../../model/job.js';
import type { JobStatus } from '../../model/job-status.js';
import { chunks } from '../dialects/shared/chunks.js';
import { query, type RowsInto, type Script, type SqlValue } from '../dialects/sql.js';
import type { ChangeNote, Created } from '../store.js';
import { HOOK_LANE, STATUS_HOOK, type EventPage, type Subscriber } from '../webhooks.js';
import { readBeside, updateExtras } from './beside.script.js';
import { DeliveryInserts, type NewDelivery } from './delivery-inserts.js';
import { EVENT_COLUMNS, eventOfRow } from './event.rows.js';
import type { Changed } from './news.js';
import type { TableNames } from './table-names.js';

/** What one read of events takes at most. */
const PAGE_ROWS = 500;
const PAGE_BYTES = 1_000_000;
/** Events of one statement, if they are short. */
const MOST_WRITTEN = 500;

/** What stands in the `detail` of an event. */
export interface EventDetail {
  readonly from?: JobStatus;
  readonly message?: string;
  readonly actor?: string;
  readonly progress: number;
  readonly run_id: string | null;
}

/** Something that happened to a job, as it stood then. */
interface Happening {
  readonly job: JobEntity;
  readonly kind: JobEventEntity['kind'];
  readonly from: JobStatus | undefined;
  readonly note: ChangeNote | undefined;
}

/** Who is told of it. */
interface Told {
  readonly target: string;
  readonly lane: string;
  readonly url: string | null;
}

/**
 * Writes down what happens to jobs, in the transaction in which it happens, and to whom it is to be
 * told: only what operators and check-ins say, and what somebody wants to hear. Events are numbered
 * by the job's own sequence, so that one that is written twice is there once.
 */
export class EventScripts {
  readonly #t: TableNames;
  readonly #events: RowsInto;
  readonly #deliveries: DeliveryInserts;
  /** Endpoints that are enabled, as this process last saw them, by tenant; null for all. */
  #memory: { subscribers: ReadonlyMap<string | null, readonly Subscriber[]> } = {
    subscribers: new Map(),
  };

  constructor(tables: TableNames) {
    this.#t = tables;
    this.#events = { table: tables.events, columns: EVENT_COLUMNS };
    this.#deliveries = new DeliveryInserts(tables);
  }

  set subscribers(subscribers: readonly Subscriber[]) {
    const byTenant = new Map<string | null, Subscriber[]>();
    for (const each of subscribers) {
      const those = byTenant.get(each.tenantId) ?? [];
      those.push(each);
      byTenant.set(each.tenantId, those);
    }
    this.#memory.subscribers = byTenant;
  }

  /** What is seen for others is seen here. */
  shareWith(other: EventScripts): void {
    other.#memory = this.#memory;
  }

  isHeard(tenantId: string): boolean {
    const { subscribers } = this.#memory;
    return subscribers.size > 0 && (subscribers.has(tenantId) || subscribers.has(null));
  }

  /** Whether a change of a job may be an event. */
  concerns({ before, after, change }: Changed): boolean {
    return (
      change.note !== undefined ||
      hasExtra(after.extras, EXTRA.hook) ||
      ((before.status !== after.status || before.status === 'running') &&
        this.isHeard(after.tenantId))
    );
  }

  *changed({ before, after, change: { note } }: Changed, nowMs: number): Script<void> {
    // Whoever has claimed it writes that down a moment later, unless it died in between.
    const happened: Happening[] =
      before.status === 'running' ? [...(yield* this.#begun([before]))] : [];
    if (before.status !== after.status) {
      happened.push({ job: after, kind: 'status', from: before.status, note });
    } else if (note !== undefined) {
      happened.push({
        job: after,
        kind: note.isCheckIn === true ? 'check_in' : 'action',
        from: undefined,
        note,
      });
    }
    if (note?.isCheckIn === true) {
      const [checkIn, atMs] = [note.message ?? '', after.updatedAtMs];
      yield* updateExtras(this.#t, after, { check_in: checkIn, check_in_at_ms: atMs });
      yield* readBeside(this.#t, [after]);
    }
    yield* this.#write(happened, nowMs);
  }

  /** Jobs that have completed, many at once. */
  *completed(changed: readonly Changed[], nowMs: number): Script<void> {
    const heard = changed.filter((each) => this.concerns(each));
    const begun = yield* this.#begun(heard.map(({ before }) => before));
    const ended = heard.map(({ before, after }): Happening => ({
      job: after,
      kind: 'status',
      from: before.status,
      note: undefined,
    }));
    yield* this.#write([...begun, ...ended], nowMs);
  }

  *created(created: readonly Created[], nowMs: number): Script<void> {
    const happened = created.map(({ job }): Happening => ({
      job,
      kind: 'status',
      from: 'initializing',
      note: undefined,
    }));
    yield* this.#write(happened, nowMs);
  }

  /** Jobs that were skipped as they waited, many at once. */
  *skipped(jobs: readonly JobEntity[], nowMs: number): Script<void> {
    const happened = jobs.map((job): Happening => ({
      job,
      kind: 'status',
      from: 'waiting',
      note: undefined,
    }));
    yield* this.#write(happened, nowMs);
  }

  /** Jobs as claims have left them. */
  *claimed(jobs: readonly JobEntity[], nowMs: number): Script<void> {
    // A claim reads nothing that stands beside a row; the jobs may go on meanwhile.
    const asClaimed = yield* this.#present(jobs);
    yield* readBeside(this.#t, asClaimed);
    yield* this.#write(yield* this.#begun(asClaimed), nowMs);
  }

  /**
   * That these jobs run, of those of which it is not written down: once a run, whoever comes first. What
   * happened to a job before anybody listened is not told when somebody does.
   */
  *#begun(running: readonly JobEntity[]): Script<readonly Happening[]> {
    const jobs = running.filter((job) => this.#toldOf(job, 'job.running').length > 0);
    if (jobs.length === 0) {
      return [];
    }
    const { amongNumbers } = this.#t.words;
    const rows = yield* query(
      `SELECT job_seq, sequence, detail FROM ${this.#t.events}
       WHERE job_seq ${amongNumbers} AND (status = 'running' AND kind = 'status' OR sequence ${amongNumbers})`,
      [JSON.stringify(jobs.map(({ seq }) => seq)), JSON.stringify(jobs.map((job) => job.sequence))],
    );
    const written = new Set(
      rows.flatMap(([seq, sequence, detail]) => [
        placeOf(Number(seq), Number(sequence)),
        placeOf(Number(seq), runOf(detail)),
      ]),
    );
    return jobs
      .filter(
        ({ seq, sequence, runId }) =>
          !written.has(placeOf(seq, sequence)) && !written.has(placeOf(seq, runId)),
      )
      .map((job) => ({ job, kind: 'status', from: 'waiting', note: undefined }));
  }

  /** Copies of those that are there still, with the marks of now: a hook may have been given up meanwhile. */
  *#present(jobs: readonly JobEntity[]): Script<readonly JobEntity[]> {
    const { rows: table, words } = this.#t;
    const rows = yield* query(`SELECT seq, extras FROM ${table} WHERE seq ${words.amongNumbers}`, [
      JSON.stringify(jobs.map(({ seq }) => seq)),
    ]);
    const extras = new Map(rows.map(([seq, marks]) => [Number(seq), marks]));
    return jobs
      .filter(({ seq }) => extras.has(seq))
      .map((job) => {
        const copy = Object.assign(Object.create(null) as JobEntity, job);
        const marks = extras.get(job.seq) ?? null;
        copy.extras = marks === null ? null : Number(marks);
        return copy;
      });
  }

  /** A page of what happened to a job: bounded in rows, and in bytes, since a message may be long. */
  *read(jobSeq: number, after: number, upTo: number): Script<EventPage> {
    const columns = Object.keys(EVENT_COLUMNS)
      .filter((name) => name !== 'job')
      .join(', ');
    const rows = yield* query(
      `SELECT ${columns}, furthest FROM (
         SELECT ${columns}, MAX(sequence) OVER () AS furthest,
           SUM(OCTET_LENGTH(detail)) OVER (ORDER BY sequence) - OCTET_LENGTH(detail) AS size_before
         FROM (SELECT ${columns} FROM ${this.#t.events}
           WHERE job_seq = ? AND sequence > ? AND sequence <= ?
           ORDER BY sequence LIMIT ${PAGE_ROWS}) AS page) AS sized
       WHERE size_before < ${PAGE_BYTES} ORDER BY sequence`,
      [jobSeq, after, upTo],
    );
    const last = rows.at(-1);
    return {
      events: rows.map((row) => eventOfRow(row.slice(0, -1))),
      isMore: rows.length === PAGE_ROWS || Number(last?.[1]) < Number(last?.at(-1)),
    };
  }

  /** In the order of jobs: who claimed them and who ends them may write the same, and neither waits for the other in turn. */
  *#write(happened: readonly Happening[], nowMs: number): Script<void> {
    const sorted = happened.toSorted((a, b) => a.job.seq - b.job.seq);
    for (const part of chunks(sorted, MOST_WRITTEN, sizeOf)) {
      yield* this.#writeSome(part, nowMs);
    }
  }

  *#writeSome(happened: readonly Happening[], nowMs: number): Script<void> {
    const events: (string | number | null)[][] = [];
    const deliveries: NewDelivery[] = [];
    const unmarked = new Map<number, JobEntity>();
    for (const each of happened) {
      const { job, kind, note } = each;
      const type = kind === 'check_in' ? 'job.check_in' : `job.${job.status}`;
      const told = kind === 'action' ? [] : this.#toldOf(job, type);
      if (told.length === 0 && note === undefined) {
        continue;
      }
      const snapshot = told.length === 0 ? null : JSON.stringify(job);
      const atMs = job.updatedAtMs;
      const detail = JSON.stringify(detailOf(each));
      events.push([job.seq, job.sequence, job.id, atMs, kind, job.status, detail, snapshot]);
      for (const { target, lane, url } of told) {
        const { seq: jobSeq, sequence, id: jobId, tenantId } = job;
        const of = { jobSeq, sequence, jobId, tenantId, event: type };
        deliveries.push({ id: newId(nowMs), target, lane, url, ...of });
      }
      if (!hasExtra(job.extras, EXTRA.events | EXTRA.hook)) {
        unmarked.set(job.seq, job);
      }
    }
    if (events.length > 0) {
      for (const { sql, params } of this.#t.words.insertRows(this.#events, events)) {
        yield* query(sql, params);
      }
    }
    yield* this.#deliveries.insert(deliveries, nowMs);
    yield* this.#mark([...unmarked.values()]);
  }

  /** Says on the rows that there are events, which go when they go; and their ends are settled one by one. */
  *#mark(jobs: readonly JobEntity[]): Script<void> {
    if (jobs.length > 0) {
      yield* query(
        `UPDATE ${this.#t.rows} SET extras = COALESCE(extras, 0) + ${EXTRA.events}
         WHERE seq ${this.#t.words.amongNumbers} AND (extras IS NULL OR extras & ${EXTRA.events} = 0)`,
        [JSON.stringify(jobs.map(({ seq }) => seq))],
      );
      jobs.forEach((job) => (job.extras = (job.extras ?? 0) | EXTRA.events));
    }
  }

  #toldOf(job: JobEntity, type: string): readonly Told[] {
    const { subscribers } = this.#memory;
    const told = [null, job.tenantId]
      .flatMap((tenantId) => subscribers.get(tenantId) ?? [])
      .filter(({ events }) => events?.has(type) ?? true)
      .map(({ id }): Told => ({ target: id, lane: id, url: null }));
    const hook = hasExtra(job.extras, EXTRA.hook) ? (job.beside?.statusHook ?? null) : null;
    return hook === null
      ? told
      : [...told, { target: STATUS_HOOK, lane: laneOfHook(hook, job.tenantId), url: hook }];
  }
}

/**
 * Status hooks of a tenant wait apart from those of others, and those of one of its hosts in one lane; whoever
 * names any number of hosts has 256 lanes.
 */
export function laneOfHook(url: string, tenantId: string): string {
  const tenant = createHash('sha256').update(tenantId).digest('hex');
  const host = createHash('sha256').update(new URL(url).host).digest('hex');
  return `${HOOK_LANE}${tenant.slice(0, 29)}${host.slice(0, 2)}`;
}

/** About as long is the job as it is stored with the event. */
function sizeOf({ job: { params, result, state } }: Happening): number {
  return params.length + (result?.length ?? 0) + (state?.length ?? 0);
}

function placeOf(seq: number, place: number | string | null): string {
  return `${seq} ${place ?? ''}`;
}

function runOf(detail: SqlValue | undefined): string | null {
  return (JSON.parse(String(detail)) as EventDetail).run_id;
}

function detailOf({ job, kind, from, note }: Happening): EventDetail {
  const said = note?.message ?? (kind === 'status' ? saidOf(job) : null);
  return {
    ...(from === undefined ? {} : { from }),
    ...(said === null ? {} : { message: said }),
    ...(note?.actor === undefined ? {} : { actor: note.actor }),
    progress: job.progress,
    run_id: job.runId,
  };
}
