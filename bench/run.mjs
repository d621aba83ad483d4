#!/usr/bin/env node
/**
 * node bench/run.mjs [--scenario S1,S3] [--peers nestjs-jobs,plainjob] [--rounds 9] [--quick]
 *                    [--out folder] [--profile folder] [--dist folder] [--postgres | --mariadb]
 *
 * With --postgres on a PostgreSQL server that it starts, beside graphile-worker, pg-boss, and BullMQ
 * on a Redis server that it starts too; with --mariadb on a MariaDB server, beside Sidequest and
 * nestjs-jobs itself on PostgreSQL.
 * Measures nestjs-jobs beside its peers in alternating rounds; see docs/performance.md.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { ADAPTERS, CONCURRENCY, modesOf } from './adapters/index.mjs';
import { killAll } from './harness/child.mjs';
import { environment } from './harness/environment.mjs';
import { leaveOnSignals } from './harness/leaving.mjs';
import { analyse, markdown } from './harness/report.mjs';
import { runScenario, scratchFolder } from './harness/runner.mjs';
import { killServers, missing, stopServers } from './harness/servers.mjs';
import { setUp } from './harness/setup.mjs';
import { SCENARIOS } from './scenarios/index.mjs';

const { values } = parseArgs({
  options: {
    scenario: { type: 'string' },
    peers: { type: 'string' },
    rounds: { type: 'string' },
    quick: { type: 'boolean', default: false },
    out: { type: 'string', default: path.join(import.meta.dirname, 'results') },
    profile: { type: 'string' },
    dist: { type: 'string' },
    postgres: { type: 'boolean', default: false },
    mariadb: { type: 'boolean', default: false },
  },
});
const mode = values.mariadb ? 'mariadb' : values.postgres ? 'postgres' : 'file';
const visible = Object.keys(ADAPTERS).filter(
  (name) => ADAPTERS[name].hidden !== true && modesOf(ADAPTERS[name]).includes(mode),
);
const [REFERENCE, DATABASE] = {
  file: ['plainjob', 'a file in a fresh folder, WAL, synchronous NORMAL unless the peer says FULL'],
  postgres: [
    'graphile-tuned',
    'PostgreSQL with its default settings, durable, a fresh database for each sample',
  ],
  mariadb: [
    'sidequest-mysql',
    'MariaDB and PostgreSQL with their default settings, durable, a fresh database for each sample',
  ],
}[mode];
const scenarios = values.scenario
  ? chosen(values.scenario, SCENARIOS, ({ id }) => id, 'scenario')
  : SCENARIOS.filter(({ modes }) => modes?.includes(mode) ?? true);
const named = values.peers ? chosen(values.peers, visible, (name) => name, 'peer') : undefined;
const there = (names) => names.filter((name) => lacks(name) === undefined);
for (const name of named ?? visible) {
  if (lacks(name) !== undefined) console.error(`Without ${name}: ${lacks(name)}.`);
}
const peers = named && there(named);
const rounds = Number(values.rounds ?? (values.quick ? 3 : 9));
if (!Number.isInteger(rounds) || rounds < 1) fail('--rounds takes a whole number from 1 on.');

const profile = values.profile && path.resolve(values.profile);
const base = scratchFolder(values.out);
const leave = () => {
  killAll();
  killServers();
  rmSync(base, { recursive: true, force: true });
};
process.on('exit', leave);
leaveOnSignals();

if (values.dist) process.env.NESTJS_JOBS_DIST = path.resolve(values.dist);
await setUp(peers ?? visible);
const report = {
  environment: environment(base),
  settings: {
    database: DATABASE,
    payload: '160 bytes of JSON',
    concurrency: CONCURRENCY,
  },
  versions: {},
  reference: REFERENCE,
  scenarios: [],
};
let failed = false;
for (const scenario of scenarios) {
  console.error(`${scenario.id}  ${scenario.title}`);
  const result = await runScenario(
    scenario,
    peers ?? there(scenario.defaultPeers?.[mode] ?? visible).filter(takesPart(scenario)),
    {
      rounds,
      quick: values.quick,
      base,
      profile,
      versions: report.versions,
      onSample: (_, name, round, measured) =>
        console.error(`  ${round + 1} ${name.padEnd(20)} ${brief(measured)}`),
      onFailure: (_, name, round, error) => {
        failed = true;
        console.error(`  ${round + 1} ${name.padEnd(20)} FAILED ${error.message}`);
      },
    },
  );
  report.scenarios.push({ ...analyse(scenario, result, REFERENCE), metrics: scenario.metrics });
  // After each scenario, so that a long run that is stopped keeps what it has.
  mkdirSync(values.out, { recursive: true });
  writeFileSync(path.join(values.out, 'latest.json'), `${JSON.stringify(report, null, 2)}\n`);
  writeFileSync(path.join(values.out, 'latest.md'), markdown(report));
}
console.log(markdown(report));
await stopServers();
process.exitCode = failed ? 1 : 0;

function chosen(list, all, key, what) {
  return list.split(',').map((wanted) => {
    const found = all.find((each) => key(each).toLowerCase() === wanted.trim().toLowerCase());
    return found ?? fail(`Unknown ${what} ${wanted}. There are: ${all.map(key).join(', ')}.`);
  });
}

function lacks(name) {
  const { server } = ADAPTERS[name];
  return server === undefined ? undefined : missing(server);
}

function takesPart({ id }) {
  return (name) => ADAPTERS[name].only?.includes(id) ?? true;
}

function brief(measured) {
  const text = Object.entries(measured).map(
    ([key, value]) => `${key} ${Number(value).toPrecision(4)}`,
  );
  return text.join('  ');
}

function fail(message) {
  console.error(message);
  process.exit(2);
}
