import { execFileSync } from 'node:child_process';
import os from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '../..');

/** What a reader needs to judge the figures. */
export function environment(dir) {
  return {
    date: new Date().toISOString(),
    commit: output('git', ['-C', root, 'describe', '--always', '--dirty']),
    node: process.version,
    system: `${os.type()} ${os.release()}`,
    cpu: `${os.cpus().length} × ${os.cpus()[0]?.model.trim()}`,
    memoryGB: Math.round(os.totalmem() / 2 ** 30),
    filesystem: output('df', ['--output=fstype', dir])?.split('\n').at(-1),
    load: os.loadavg().map((each) => Number(each.toFixed(2))),
  };
}

function output(command, args) {
  try {
    return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim();
  } catch {
    return undefined;
  }
}
