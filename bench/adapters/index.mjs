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
  'nestjs-jobs-postgres': {
    title: 'nestjs-jobs, PostgreSQL',
    load: () => import('./nestjs-jobs.mjs'),
    settings: { line: 'current' },
    server: true,
  },
  'nest-bare-postgres': {
    title: 'the same Nest application on PostgreSQL without JobsModule',
    load: () => import('./nestjs-jobs.mjs'),
    settings: { line: 'current', bare: true },
    server: true,
    hidden: true,
  },
  'graphile-tuned': {
    title: 'graphile-worker with a local queue of 500 and batched completions',
    load: () => import('./graphile.mjs'),
    settings: { tuned: true },
    server: true,
  },
  'graphile-worker': {
    title: 'graphile-worker as it comes',
    load: () => import('./graphile.mjs'),
    settings: {},
    server: true,
  },
  'pg-boss': {
    title: 'pg-boss with LISTEN and NOTIFY',
    load: () => import('./pg-boss.mjs'),
    settings: {},
    server: true,
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
  if (ADAPTERS[adapter].server) return 'nest-bare-postgres';
  return adapter.endsWith('sqlite3') ? 'nest-bare-sqlite3' : 'nest-bare';
}

/** How many handlers a process runs at once: the default capacity of the default queue. */
export const CONCURRENCY = 10;
