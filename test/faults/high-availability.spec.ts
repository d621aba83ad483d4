import { setTimeout as pause } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { startMariadb } from '../../scripts/mariadb.mjs';
import { startPostgres } from '../../scripts/postgres.mjs';
import { freePort } from '../../scripts/servers.mjs';
import type { TestServer } from '../../scripts/servers.d.mts';
import { chance, seedOfRun } from '../support/chance.js';
import { closeLater, dropLater } from '../support/cleanup.js';
import { until } from '../support/waiting.js';
import { Cluster, type Item } from './support/cluster.js';
import { serverDatabase, type FaultDatabase } from './support/fault-database.js';
import { FaultProxy } from './support/fault-proxy.js';

/** Debian's package of the cluster's library. */
const GALERA = '/usr/lib/galera/libgalera_smm.so';
const JOBS = 600;
const SECONDS = 15;
const LEASE_MS = 3000;
const PATIENCE_MS = 400_000;

const options = {
  lease: { duration: LEASE_MS, sweep: '200ms', maxLost: 1000 },
  queues: { default: 8 },
};

function items(random: () => number): readonly Item[] {
  return Array.from({ length: JOBS }, (_, n) => ({
    token: `t${n}`,
    keyed: random() < 0.5,
    params: { ms: Math.floor(random() * 600), ...(random() < 0.1 ? { fails: 1 } : {}) },
  }));
}

/** What leads to the servers, as a virtual address does; ended before them. */
async function proxyTo(server: TestServer): Promise<FaultProxy> {
  const proxy = await FaultProxy.start(Number(new URL(server.url).port));
  closeLater(() => proxy.close(), 'test');
  return proxy;
}

async function judge(
  {
    database,
    random,
    typeorm,
  }: { database: FaultDatabase; random: () => number; typeorm: (at: number) => object },
  fault: () => Promise<void>,
): Promise<void> {
  const cluster = new Cluster({ database, random, workers: 3, options, typeorm });
  try {
    await cluster.start();
    await Promise.all([
      cluster.produce(items(random), SECONDS),
      pause((SECONDS * 1000) / 3).then(fault),
    ]);
    await cluster.rest();
    const violations = await cluster.judge({ leaseMs: LEASE_MS, maxLost: 1000 });
    expect(violations, violations.slice(0, 20).join('\n')).toEqual([]);
    expect(cluster.acknowledged.length).toBeGreaterThan(JOBS / 2);
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
    await judge({ database, random: chance(seed), typeorm }, async () => {
      await primary.end('SIGKILL');
      const port = Number(new URL(standby.url).port);
      proxy.lead(port);
      await database.ask('SELECT pg_promote(true)');
    });
  },
  PATIENCE_MS,
);

it(
  'nothing acknowledged is lost when a Galera cluster of three nodes, all of which are written to, loses one',
  async () => {
    const seed = seedOfRun();
    console.log(`Galera: JOBS_TEST_SEED=${seed}`);
    const nodes = await galera(3);
    const proxies = await Promise.all(nodes.map(proxyTo));
    const [first] = nodes as [TestServer];
    const database = await serverDatabase('mariadb', first);
    const size = async (): Promise<number> => {
      const [row] = await database.ask(`SHOW STATUS LIKE 'wsrep_cluster_size'`);
      return Number(row?.['Value']);
    };
    expect(await size()).toBe(3);
    const typeorm = (at: number): object => ({ port: proxies[at % 3]?.port });
    await judge({ database, random: chance(seed), typeorm }, async () => {
      await nodes[2]?.end('SIGKILL');
      proxies[2]?.lead(database.port);
    });
    expect(await size()).toBe(2);
  },
  PATIENCE_MS,
);

/** Nodes that hold the same data; each can be written to. */
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
