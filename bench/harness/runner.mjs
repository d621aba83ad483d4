import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { ADAPTERS } from '../adapters/index.mjs';
import { Child } from './child.mjs';
import { server } from './servers.mjs';

/** Runs one sample in fresh processes on a fresh folder, and leaves neither behind. */
async function sample(scenario, adapter, { size, base, profile, versions }) {
  const scope = async (work) => {
    const dir = mkdtempSync(path.join(base, 'run-'));
    const kind = ADAPTERS[adapter].server;
    const database = kind === undefined ? undefined : await (await server(kind)).create();
    const children = [];
    const start = async (name, { gc = false, abandoned = false, ...settings } = {}) => {
      const execArgv = gc ? ['--expose-gc'] : [];
      if (profile !== undefined) execArgv.push('--cpu-prof', `--cpu-prof-dir=${profile}`);
      const child = new Child(name, { execArgv });
      if (database !== undefined) child.besideServer(database);
      children.push({ child, abandoned });
      versions[name] = await child.call('open', { dir, url: database?.url, ...settings });
      return child;
    };
    try {
      return await work({ start, dir, size, database, part: scope });
    } finally {
      for (const { child, abandoned } of children.reverse()) {
        await (abandoned && profile === undefined ? child.kill() : child.close());
      }
      await database?.drop();
      rmSync(dir, { recursive: true, force: true });
    }
  };
  return scope((context) => scenario.run(context, adapter));
}

/** All samples of one scenario: every peer once a round, in turns of order. */
export async function runScenario(scenario, adapters, options) {
  const size = scenario.size[options.quick ? 'quick' : 'full'];
  const rounds = Math.min(options.rounds, scenario.mostRounds ?? Infinity);
  const peers = Object.fromEntries(adapters.map((name) => [name, []]));
  const failures = [];
  for (let round = 0; round < rounds; round += 1) {
    for (const name of round % 2 === 0 ? adapters : [...adapters].reverse()) {
      try {
        const measured = await sample(scenario, name, { ...options, size });
        peers[name].push({ ...measured, load: os.loadavg()[0] });
        options.onSample(scenario, name, round, measured);
      } catch (error) {
        peers[name].push(undefined);
        failures.push({ peer: name, round, error: error.message });
        options.onFailure(scenario, name, round, error);
      }
    }
  }
  return { id: scenario.id, title: scenario.title, size, rounds, peers, failures };
}

/** A folder on the disk of this checkout: a memory file system would flatter everybody. */
export function scratchFolder(parent) {
  mkdirSync(parent, { recursive: true });
  return mkdtempSync(path.join(parent, 'tmp-'));
}
