/**
 * The peers. An adapter module exports `open(settings)`, which resolves to
 * `{ enqueue, enqueueMany, resume, pause, unfinished, fill, close, versions }`.
 */
export const ADAPTERS = {
  'nestjs-jobs': {
    title: 'nestjs-jobs, better-sqlite3, NORMAL',
    load: () => import('./nestjs-jobs.mjs'),
    settings: { line: 'current' },
  },
  'nestjs-jobs-full': {
    title: 'nestjs-jobs, better-sqlite3, FULL',
    load: () => import('./nestjs-jobs.mjs'),
    settings: { line: 'current', synchronous: 'FULL' },
  },
  'nestjs-jobs-sqlite3': {
    title: 'nestjs-jobs, sqlite3 on Nest 11 and TypeORM 0.3, NORMAL',
    load: () => import('./nestjs-jobs.mjs'),
    settings: { line: 'compat' },
  },
  'nest-bare': {
    title: 'the same Nest application without JobsModule',
    load: () => import('./nestjs-jobs.mjs'),
    settings: { line: 'current', bare: true },
    hidden: true,
  },
  'nest-bare-sqlite3': {
    title: 'the same Nest 11 application without JobsModule',
    load: () => import('./nestjs-jobs.mjs'),
    settings: { line: 'compat', bare: true },
    hidden: true,
  },
  plainjob: {
    title: 'plainjob, better-sqlite3, NORMAL',
    load: () => import('./plainjob.mjs'),
    settings: { pollMs: 10 },
  },
};

/** The application that an adapter of ours is measured above; undefined for other peers. */
export function bareOf(adapter) {
  if (!adapter.startsWith('nestjs-jobs')) return undefined;
  return adapter.endsWith('sqlite3') ? 'nest-bare-sqlite3' : 'nest-bare';
}

/** How many handlers a process runs at once: the default capacity of the default queue. */
export const CONCURRENCY = 10;
