import type { Expectations, History, JobRow, Note } from './history.js';
import type { Hold, RunSpan } from './run-spans.js';

export type NoteOf<W extends Note['what']> = Extract<Note, { readonly what: W }>;

export interface Case extends History {
  readonly expected: Expectations;
  readonly byId: ReadonlyMap<string, JobRow>;
  /** Runs by job, in the order of their revisions. */
  readonly spans: ReadonlyMap<string, readonly RunSpan[]>;
  /** The same by the database's time, in the order in which they held it. */
  readonly holds: ReadonlyMap<string, readonly Hold[]>;
}

export function notesOf<W extends Note['what']>(notes: readonly Note[], what: W): NoteOf<W>[] {
  return notes.filter((note): note is NoteOf<W> => note.what === what);
}

export function keyOf({
  job,
  attempt,
}: {
  readonly job: string;
  readonly attempt: number;
}): string {
  return `${job} ${attempt}`;
}

export function pairs<T>(list: readonly T[]): (readonly [T, T])[] {
  return list.slice(1).map((after, at) => [list[at] as T, after] as const);
}

export function groupBy<T>(list: readonly T[], key: (each: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const each of list) {
    const group = groups.get(key(each));
    if (group === undefined) {
      groups.set(key(each), [each]);
    } else {
      group.push(each);
    }
  }
  return groups;
}

export const FINAL: readonly string[] = ['skipped', 'canceled', 'failed', 'timeout', 'completed'];

/** What a job was given, as far as rules ask for it. */
export interface Params {
  readonly token?: string;
  readonly how?: string;
  readonly ends?: string;
  readonly blockMs?: number;
  /** The unique key that it was to hold. */
  readonly unique?: string;
  /** The jobs that it was to depend on. */
  readonly parents?: readonly { readonly id: string; readonly onFailure: string }[];
}

export function paramsOf(job: JobRow): Params {
  return JSON.parse(job.params) as Params;
}
