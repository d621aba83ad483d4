import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { startMariadb } from '../../scripts/mariadb.mjs';
import { startPostgres } from '../../scripts/postgres.mjs';
import { freePort } from '../../scripts/servers.mjs';
import type { TestServer } from '../../scripts/servers.d.mts';
import { chance, seedOfRun } from '../support/chance.js';
import { closeLater, dropLater } from '../support/cleanup.js';
import { until } from '../support/waiting.js';
import { Cluster } from './support/cluster.js';
import { askMariadbAt, serverDatabase, type FaultDatabase } from './support/fault-database.js';
import { FaultProxy } from './support/fault-proxy.js';
import { CAPACITY, itemsOf, limitsOf, type Workload } from './support/workload.js';

/** Debian's package of the cluster's library. */
const GALERA = '/usr/lib/galera/libgalera_smm.so';
const LEASE_MS = 3000;
const PATIENCE_MS = 400_000;

const PLAIN: Workload = { jobs: 600, workers: 3, seconds: 15 };

/** Keys, dependencies and limits, all of one tenant: who depends on a job is of its tenant. */
const RELATED: Workload = {
  ...PLAIN,
  relates: true,
  keys: 1,
  tenants: 1,
  limits: { concurrency: { limit: 10, by: 'tenant' }, rate: { max: 100, per: 1000 } },
};

interface Trial {
  readonly database: FaultDatabase;
  readonly workload: Workload;
  readonly random: () => number;
  readonly typeorm: (at: number) => object;
}

/** What leads to the servers, as a virtual address does; ended before them. */
async function proxyTo(server: TestServer): Promise<FaultProxy> {
  const proxy = await FaultProxy.start(Number(new URL(server.url).port));
  closeLater(() => proxy.close(), 'test');
  return proxy;
}

/** The fault comes after a third of the time. */
async function judge(
  { database, workload, random, typeorm }: Trial,
  fault: (cluster: Cluster) => Promise<void>,
): Promise<void> {
  const { jobs, workers, seconds, limits } = workload;
  const options = {
    lease: { duration: LEASE_MS, sweep: '200ms', maxLost: 1000 },
    queues: { default: { capacity: CAPACITY, ...limits } },
  };
  const cluster = new Cluster({ database, random, workers, options, typeorm });
  try {
    await cluster.start();
    await Promise.all([
      cluster.produce(itemsOf(workload, random), seconds),
      pause((seconds * 1000) / 3).then(() => fault(cluster)),
    ]);
    await cluster.rest();
    const expected = { leaseMs: LEASE_MS, maxLost: 1000, limits: limitsOf(workload) };
    const violations = await cluster.judge(expected);
    expect(violations, violations.slice(0, 20).join('\n')).toEqual([]);
    expect(cluster.acknowledged.length).toBeGreaterThanOrEqual(jobs);
    const { counts } = cluster;
    console.log(JSON.stringify(counts));
    if (workload.relates === true) {
      expect(counts['jobs that depend on others']).toBeGreaterThanOrEqual(jobs / 20);
      expect(counts['refusals of unique keys']).toBeGreaterThanOrEqual(1);
      expect(counts['limits reached']).toBeGreaterThanOrEqual(1);
    }
  } catch (error) {
    throw new Error(`${String(error)}\n${cluster.story()}`, { cause: error });
  }
}

it(
  'nothing acknowledged is lost when a PostgreSQL primary dies and its synchronous standby takes over',
  async () => {
    const seed = seedOfRun();
    console.log(`failover: JOBS_TEST_SEED=${seed}`);
    const primary = await startPostgres({ durable: true });
    dropLater(() => primary.stop(), 'test');
    const standby = await startPostgres({ durable: true, standbyOf: primary.url });
    const proxy = await proxyTo(primary);
    const url = `postgres://postgres@127.0.0.1:${proxy.port}/postgres`;
    const database = await serverDatabase('postgres', { ...standby, url });
    // From here on a commit is acknowledged when the standby has it.
    await database.ask(`ALTER SYSTEM SET synchronous_standby_names = '*'`);
    await database.ask('SELECT pg_reload_conf()');
    await until(
      async () =>
        (await database.ask(`SELECT 1 FROM pg_stat_replication WHERE sync_state = 'sync'`)).length,
      'the standby to be in step',
      60_000,
    );
    const typeorm = (): object => ({ port: proxy.port });
    const trial = { database, workload: RELATED, random: chance(seed), typeorm };
    await judge(trial, async () => {
      await primary.end('SIGKILL');
      const port = Number(new URL(standby.url).port);
      proxy.lead(port);
      await database.ask('SELECT pg_promote(true)');
    });
  },
  PATIENCE_MS,
);

it(
  'no acknowledged plain job is lost when they are written to all three nodes of a Galera cluster and it loses one',
  async () => {
    const seed = seedOfRun();
    console.log(`Galera: JOBS_TEST_SEED=${seed}`);
    const nodes = await galera(3);
    const proxies = await Promise.all(nodes.map(proxyTo));
    const [first] = nodes as [TestServer];
    const database = await serverDatabase('mariadb', first);
    expect(await sizeOf(database)).toBe(3);
    const typeorm = (at: number): object => ({ port: proxies[at % 3]?.port });
    const said: string[] = [];
    const trial = { database, workload: PLAIN, random: chance(seed), typeorm };
    await judge(trial, async (cluster) => {
      // Each process has a node, and each of them claims.
      const runs = cluster.notes().filter(({ what }) => what === 'start');
      const places = runs.map(({ pid }) => cluster.places.get(pid));
      expect(new Set(places), 'nodes over which jobs were claimed').toEqual(new Set([0, 1, 2]));
      const before = await Promise.all(nodes.map(({ url }) => writesOf(url)));
      expect(Math.min(...before.map(({ sent }) => sent))).toBeGreaterThan(0);
      said.push(...before.map((each, at) => `node ${at}, so far: ${JSON.stringify(each)}`));
      await nodes[2]?.end('SIGKILL');
      proxies[2]?.lead(database.port);
    });
    expect(await sizeOf(database)).toBe(2);
    const workers = await database.ask(
      'SELECT worker_id FROM jobs WHERE worker_id IS NOT NULL UNION SELECT worker_id FROM job_runs',
    );
    expect(workers.length).toBeGreaterThanOrEqual(3);
    for (const [at, node] of nodes.slice(0, 2).entries()) {
      said.push(`node ${at}, at the end: ${JSON.stringify(await writesOf(node.url))}`);
    }
    console.log(said.join('\n'));
  },
  PATIENCE_MS,
);

it(
  'nothing is lost, and keys, dependencies and limits hold, when one node of a Galera cluster at a time is written to, and that dies',
  async () => {
    const seed = seedOfRun();
    console.log(`Galera, one writer: JOBS_TEST_SEED=${seed}`);
    const nodes = await galera(3);
    const [first, , last] = nodes as [TestServer, TestServer, TestServer];
    const proxy = await proxyTo(last);
    const database = await serverDatabase('mariadb', first);
    expect(await sizeOf(database)).toBe(3);
    const typeorm = (): object => ({ port: proxy.port });
    const trial = { database, workload: RELATED, random: chance(seed), typeorm };
    await judge(trial, async () => {
      expect((await writesOf(last.url)).sent).toBeGreaterThan(0);
      await last.end('SIGKILL');
      proxy.lead(database.port);
    });
    expect(await sizeOf(database)).toBe(2);
    expect((await writesOf(first.url)).sent).toBeGreaterThan(0);
  },
  PATIENCE_MS,
);

async function sizeOf(database: FaultDatabase): Promise<number> {
  const [row] = await database.ask(`SHOW STATUS LIKE 'wsrep_cluster_size'`);
  return Number(row?.['Value']);
}

/** Transactions that a node has given to the others, and those that were undone because another one's came first. */
async function writesOf(
  url: string,
): Promise<{ readonly sent: number; readonly refused: number; readonly undone: number }> {
  const rows = await askMariadbAt(
    url,
    `SHOW STATUS WHERE Variable_name IN ('wsrep_replicated', 'wsrep_local_cert_failures', 'wsrep_local_bf_aborts')`,
  );
  const values = new Map(rows.map((row) => [row['Variable_name'], Number(row['Value'])]));
  const value = (name: string): number => values.get(name) ?? Number.NaN;
  return {
    sent: value('wsrep_replicated'),
    refused: value('wsrep_local_cert_failures'),
    undone: value('wsrep_local_bf_aborts'),
  };
}

/**
 * Nodes that hold the same data; each can be written to. Reads wait for nobody: `wsrep_sync_wait` is 0, as it
 * is by default. Only plain jobs are written over all of them: those are certified by their rows. A row
 * lock that is taken without a write is not seen by the other nodes, which is what much else relies on.
 */
async function galera(count: number): Promise<readonly TestServer[]> {
  const ports = await Promise.all(Array.from({ length: count }, freePort));
  const address = `gcomm://${ports.map((port) => `127.0.0.1:${port}`).join(',')}`;
  const nodes: TestServer[] = [];
  for (const [at, port] of ports.entries()) {
    const [transfer, increments] = [await freePort(), await freePort()];
    const node = await startMariadb({
      durable: true,
      settings: [
        '--wsrep-on=ON',
        `--wsrep-provider=${GALERA}`,
        `--wsrep-cluster-address=${at === 0 ? 'gcomm://' : address}`,
        '--wsrep-cluster-name=faults',
        `--wsrep-node-name=node${at}`,
        '--wsrep-node-address=127.0.0.1',
        '--wsrep-sst-method=rsync',
        `--wsrep-sst-receive-address=127.0.0.1:${transfer}`,
        `--wsrep-provider-options=gmcast.listen_addr=tcp://127.0.0.1:${port};ist.recv_addr=127.0.0.1:${increments}`,
        '--binlog-format=ROW',
        '--innodb-autoinc-lock-mode=2',
      ],
    });
    // The first one is ended by its database.
    if (at > 0) {
      dropLater(() => node.stop(), 'test');
    }
    nodes.push(node);
  }
  return nodes;
}
