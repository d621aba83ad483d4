/**
 * The peers. An adapter module exports `open(settings)`, which resolves to
 * `{ enqueue, enqueueMany, resume, pause, unfinished, fill, close, versions }`.
 * `server`: which database server it needs. `modes`: in which runs it takes part, else in those of its
 * server. `against`: whose figures it is also compared with. `only`: the scenarios that it takes part
 * in unless it is named. `most`: the jobs of a sample, of one that would take minutes for all of them.
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
    server: 'postgres',
    modes: ['postgres', 'mariadb'],
    against: ['graphile-worker', 'pg-boss', 'pg-boss-poll', 'bullmq', 'bullmq-aof'],
  },
  'nestjs-jobs-mariadb': {
    title: 'nestjs-jobs, MariaDB',
    load: () => import('./nestjs-jobs.mjs'),
    settings: { line: 'current' },
    server: 'mariadb',
    against: ['nestjs-jobs-postgres'],
  },
  'sidequest-mysql': {
    title: 'Sidequest with its MySQL backend, poll 10 ms',
    load: () => import('./sidequest.mjs'),
    settings: { pollMs: 10 },
    server: 'mariadb',
    most: 2000,
  },
  'nest-bare-mariadb': {
    title: 'the same Nest application on MariaDB without JobsModule',
    load: () => import('./nestjs-jobs.mjs'),
    settings: { line: 'current', bare: true },
    server: 'mariadb',
    hidden: true,
  },
  'nest-bare-postgres': {
    title: 'the same Nest application on PostgreSQL without JobsModule',
    load: () => import('./nestjs-jobs.mjs'),
    settings: { line: 'current', bare: true },
    server: 'postgres',
    hidden: true,
  },
  'graphile-tuned': {
    title: 'graphile-worker with a local queue of 500 and batched completions',
    load: () => import('./graphile.mjs'),
    settings: { tuned: true },
    server: 'postgres',
  },
  'graphile-worker': {
    title: 'graphile-worker as it comes',
    load: () => import('./graphile.mjs'),
    settings: {},
    server: 'postgres',
  },
  'pg-boss': {
    title: 'pg-boss with LISTEN and NOTIFY',
    load: () => import('./pg-boss.mjs'),
    settings: {},
    server: 'postgres',
  },
  'pg-boss-poll': {
    title: 'pg-boss without LISTEN and NOTIFY',
    load: () => import('./pg-boss.mjs'),
    settings: { notify: false },
    server: 'postgres',
    only: ['S1'],
  },
  bullmq: {
    title: 'BullMQ on Redis without persistence',
    load: () => import('./bullmq.mjs'),
    settings: {},
    server: 'redis',
    modes: ['postgres'],
  },
  'bullmq-aof': {
    title: 'BullMQ on Redis with an append-only file, synced once a second',
    load: () => import('./bullmq.mjs'),
    settings: {},
    server: 'redis-aof',
    modes: ['postgres'],
  },
  receiver: {
    title: 'a receiver of webhooks',
    load: () => import('./receiver.mjs'),
    hidden: true,
  },
  plainjob: {
    title: 'plainjob, better-sqlite3, NORMAL',
    load: () => import('./plainjob.mjs'),
    settings: { pollMs: 10 },
  },
};

/** In which runs an adapter takes part. */
export const modesOf = ({ modes, server = 'file' }) => modes ?? [server];

/** The application that an adapter of ours is measured above; undefined for other peers. */
export function bareOf(adapter) {
  if (!adapter.startsWith('nestjs-jobs')) return undefined;
  const { server } = ADAPTERS[adapter];
  if (server !== undefined) return `nest-bare-${server}`;
  return adapter.endsWith('sqlite3') ? 'nest-bare-sqlite3' : 'nest-bare';
}

/** How many handlers a process runs at once: the default capacity of the default queue. */
export const CONCURRENCY = 10;
