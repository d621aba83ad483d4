// Builds with one thing broken that the fault tests are there to notice. `patches` say what is searched
// for, exactly once in its file, and what it becomes; `caughtBy` which tests have to fail then, and `saying`
// what has to stand in the failure, where a scenario judges by many rules. All these tests have to pass on a
// copy without patches first.
//   node scripts/broken-builds.mjs --check    do all patches still apply?
//   node scripts/broken-builds.mjs [name…]    is each build caught?
const on = (project, file, title) => ({ config: 'vitest.config.ts', project, file, title });
const faults = (file, title, saying) => ({
  config: 'vitest.faults.config.ts',
  file,
  title,
  ...(saying && { saying }),
});

const LEASES = 'test/behaviour/leases.spec.ts';
const LATE = 'cannot be finished with by its late worker';
const KILL = 'test/processes/kill.spec.ts';
const WEBHOOKS_KILL = 'test/processes/webhooks.spec.ts';
const MEETINGS = 'test/faults/interleavings.spec.ts';
const SCENARIOS = 'test/faults/scenarios-';
const UNIQUE_RULE = 'a unique key has one job at a time: ';
const DEPENDENCY_RULE = 'a job waits for those it depends on: ';

export const BUILDS = [
  {
    name: 'a completion without the fence, on SQLite',
    patches: [
      {
        file: 'lib/store/typeorm/job.scripts.ts',
        from: ' AND ${this.#t.rows}.run_id = ended.run_id',
        to: '',
      },
    ],
    caughtBy: [on('nest12', LEASES, LATE), faults(SCENARIOS, 'are blocked .* on sqlite')],
  },
  {
    name: 'a completion without the fence, on PostgreSQL',
    patches: [
      {
        file: 'lib/store/dialects/postgres/job.scripts.ts',
        from: 'job.seq = ended.seq AND job.run_id = ended.run_id AND',
        to: 'job.seq = ended.seq AND',
      },
    ],
    caughtBy: [faults(SCENARIOS, 'are blocked .* on postgres')],
  },
  {
    name: 'a completion without the fence, on MariaDB',
    patches: [
      {
        file: 'lib/store/dialects/mysql/job.scripts.ts',
        from: 'AND (seq, run_id) IN (${runs}) AND status',
        to: 'AND status',
      },
    ],
    caughtBy: [faults(SCENARIOS, 'are blocked .* on mariadb')],
  },
  {
    name: 'an end without the id of its run',
    patches: [{ file: 'lib/engine/run-settlement.ts', from: 'stored.runId !== runId || ', to: '' }],
    caughtBy: [on('nest12', LEASES, LATE)],
  },
  {
    name: 'the clock of the application, on servers',
    patches: [
      {
        file: 'lib/store/dialects/shared/server-clock.ts',
        from: 'this.#onward(Math.floor(this.#base + performance.now()) + this.shiftMs)',
        to: 'Date.now() + this.shiftMs',
      },
    ],
    caughtBy: [
      faults(SCENARIOS, 'a day apart, on postgres'),
      faults(SCENARIOS, 'a day apart, on mariadb'),
    ],
  },
  {
    name: 'the clock of the application, on SQLite',
    patches: [
      {
        file: 'lib/store/dialects/sqlite/better-sqlite3.session.ts',
        from: 'return this.#clock.observe(Number(now));',
        to: 'void now; return this.#clock.observe(Date.now());',
      },
    ],
    caughtBy: [faults(SCENARIOS, 'a day apart, on sqlite')],
  },
  {
    name: 'a claim that locks no rows, on PostgreSQL',
    patches: [
      {
        file: 'lib/store/dialects/postgres/claim.script.ts',
        from: '${ORDER} LIMIT ? FOR UPDATE SKIP LOCKED)',
        to: '${ORDER} LIMIT ?)',
      },
      {
        file: 'lib/store/dialects/postgres/claim.script.ts',
        from: "WHERE seq = ANY(ARRAY(SELECT seq FROM taken)) AND status = 'waiting'",
        to: 'WHERE seq = ANY(ARRAY(SELECT seq FROM taken))',
      },
    ],
    caughtBy: [faults(SCENARIOS, 'are killed, on postgres')],
  },
  {
    name: 'a claim that locks no rows, on MariaDB',
    patches: [
      {
        file: 'lib/store/dialects/mysql/claim.script.ts',
        from: '${this.#ready} FOR UPDATE SKIP LOCKED`',
        to: '${this.#ready}`',
      },
    ],
    caughtBy: [faults(SCENARIOS, 'are killed, on mariadb')],
  },
  {
    name: 'no transaction that takes the lock at its beginning, on SQLite',
    patches: [
      {
        file: 'lib/store/dialects/sqlite/better-sqlite3.session.ts',
        from: "'BEGIN IMMEDIATE'",
        to: "'BEGIN'",
      },
    ],
    caughtBy: [faults(MEETINGS, 'between the statements')],
  },
  {
    name: 'a wake-up during a claim is lost',
    patches: [
      {
        file: 'lib/engine/queue-runner.ts',
        from: 'if (isMore) {\n        this.#mayHaveMore = true;\n      }',
        to: 'this.#mayHaveMore = isMore;',
      },
    ],
    caughtBy: [on('nest12', 'test/engine/queue-runner.spec.ts', 'hears of while it claims')],
  },
  {
    name: 'nobody is woken in another process',
    patches: [
      {
        file: 'lib/store/typeorm/postgres-store.ts',
        from: 'notifications.subscribe(this.changed);',
        to: '',
      },
    ],
    caughtBy: [on('nest12-postgres', 'test/processes/two-processes.spec.ts', 'the second wakes')],
  },
  {
    name: 'an insert whose answer was lost is done again under another number',
    patches: [
      {
        file: 'lib/store/dialects/shared/server-inserts.ts',
        from: 'draft.tried = created;',
        to: '',
      },
    ],
    caughtBy: [
      on('nest12-postgres', 'test/postgres/inserts.spec.ts', 'is enqueued in one call once: plain'),
    ],
  },
  {
    name: 'a reaper that does not look again',
    patches: [
      {
        file: 'lib/engine/duties.ts',
        from: 'job.leaseUntilMs === null || job.leaseUntilMs >= nowMs',
        to: 'job.leaseUntilMs === null',
      },
    ],
    caughtBy: [faults(MEETINGS, 'on postgres'), faults(MEETINGS, 'on mariadb')],
  },
  {
    name: 'a change that is no compare-and-set, on PostgreSQL',
    patches: [
      {
        file: 'lib/store/typeorm/job.scripts.ts',
        from: 'WHERE ${still.sql} RETURNING seq`,\n      [...names.map((name) => boundValue(set[name])), ...still.params],',
        to: 'WHERE seq = ? RETURNING seq`,\n      [...names.map((name) => boundValue(set[name])), before.seq],',
      },
    ],
    caughtBy: [faults(MEETINGS, 'on postgres')],
  },
  {
    name: 'a change that locks no row, on MariaDB',
    patches: [
      {
        file: 'lib/store/dialects/mysql/job.scripts.ts',
        from: 'WHERE seq = ? ${lock}`',
        to: 'WHERE seq = ?`',
      },
    ],
    caughtBy: [faults(MEETINGS, 'on mariadb')],
  },
  {
    name: 'jobs begin whose leases have ended',
    patches: [
      {
        file: 'lib/engine/queue-runner.ts',
        from: 'if (this.#buffer.isOver) {',
        to: 'if (false) {',
      },
      {
        file: 'lib/engine/execution.ts',
        from: 'this.#abortReason !== undefined || !this.surelyHolds',
        to: 'this.#abortReason !== undefined',
      },
    ],
    caughtBy: [on('nest12', KILL, 'that were claimed before')],
  },
  {
    name: 'a handler is called late that was about to be called',
    patches: [
      {
        file: 'lib/engine/execution.ts',
        from: 'this.#abortReason !== undefined || !this.surelyHolds',
        to: 'this.#abortReason !== undefined',
      },
    ],
    caughtBy: [on('nest12', KILL, 'about to call')],
  },
  {
    name: 'a silent server is waited for',
    patches: [
      { file: 'lib/store/typeorm/mysql-store.ts', from: 'patience.limit(ANSWER_MS);', to: '' },
      {
        file: 'lib/store/typeorm/mysql-store.ts',
        from: 'ANSWER_MS, AnswerPatience',
        to: 'AnswerPatience',
      },
    ],
    caughtBy: [faults('test/faults/half-open.spec.ts', 'vanishes')],
  },
  {
    name: 'losses of a worker are not counted',
    patches: [
      {
        file: 'lib/model/outcome.ts',
        from: 'again(run, error, { lost: job.lost + 1 })',
        to: 'again(run, error, {})',
      },
    ],
    caughtBy: [faults(SCENARIOS, 'are killed, on sqlite')],
  },
  {
    name: 'a delivery counts as delivered before it is sent',
    patches: [
      {
        file: 'lib/store/typeorm/delivery.scripts.ts',
        from: 'holder = ?, lease_until_ms = ?, updated_at_ms = ?',
        to: "status = 'delivered', lane = NULL, holder = ?, lease_until_ms = ?, updated_at_ms = ?",
      },
    ],
    caughtBy: [on('nest12', WEBHOOKS_KILL, 'loses none of them')],
  },
  {
    name: 'a delivery does not wait for an older one of its job',
    patches: [
      {
        file: 'lib/store/typeorm/delivery.scripts.ts',
        from: 'AND ${isFreeByRow}',
        to: 'AND (due.lane IS NOT NULL OR ${isFreeByRow})',
      },
    ],
    caughtBy: [on('nest12', WEBHOOKS_KILL, 'comes twice is the same')],
  },
  {
    name: 'claims do not count what is at work against a limit',
    patches: [
      {
        file: 'lib/store/typeorm/limit-room.ts',
        from: 'ceiling.most - (this.#atWork.get(name) ?? 0)',
        to: 'ceiling.most',
      },
    ],
    caughtBy: [
      on('nest12', 'test/behaviour/limits.spec.ts', 'of a queue holds over its types'),
      faults(SCENARIOS, 'queue has limits, on sqlite', 'limits hold: '),
      faults(SCENARIOS, 'queue has limits, on postgres', 'limits hold: '),
    ],
  },
  {
    name: 'a unique key is free when its job begins',
    patches: [
      {
        file: 'lib/store/typeorm/unique-keys.ts',
        from: '!isFinal(job.status) &&',
        to: "!isFinal(job.status) && job.status === 'waiting' &&",
      },
    ],
    caughtBy: [
      on('nest12', 'test/behaviour/unique-release.spec.ts', 'is held while its job waits and runs'),
      faults(SCENARIOS, 'are killed, on sqlite', UNIQUE_RULE),
      faults(SCENARIOS, 'are killed, on mariadb', UNIQUE_RULE),
    ],
  },
  {
    name: 'a unique key is not locked, on servers',
    patches: [
      {
        file: 'lib/store/typeorm/unique-keys.ts',
        from: "for (let at = 0; words.forUpdate !== '' && at < sorted.length; at += KEYS_AT_ONCE) {",
        to: 'for (let at = 0; at < 0; at += KEYS_AT_ONCE) {',
      },
    ],
    caughtBy: [
      on('nest12-postgres', 'test/postgres/unique.spec.ts', 'one of many transactions of the host'),
      on('nest12-mariadb', 'test/mariadb/unique.spec.ts', 'one of many transactions of the host'),
    ],
  },
  {
    name: 'a job goes on when the first of those it depends on has ended',
    patches: [
      {
        file: 'lib/store/typeorm/dependencies.script.ts',
        from: 'WHERE seq ${words.amongNumbers} AND blocked_by = 0 ${words.latest}`',
        to: 'WHERE seq ${words.amongNumbers} ${words.latest}`',
      },
    ],
    caughtBy: [
      on('nest12', 'test/behaviour/dependencies.spec.ts', 'waits until all of them are final'),
      faults(SCENARIOS, 'are killed, on sqlite', DEPENDENCY_RULE),
      faults(SCENARIOS, 'are killed, on postgres', DEPENDENCY_RULE),
    ],
  },
];
