/**
 * The Redis server of a run: emptied before each sample. As it is fastest, without any persistence, or
 * with an append-only file that is synced once a second, of which a crash costs the last second.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from '../../scripts/servers.mjs';
import { cpuOf } from './cpu.mjs';

const binary = () =>
  (process.env.PATH ?? '')
    .split(path.delimiter)
    .map((folder) => path.join(folder, 'redis-server'))
    .find((file) => existsSync(file));

export function missing() {
  return binary() === undefined ? 'no redis-server in PATH: install redis-server' : undefined;
}

const PERSISTENCE = {
  none: ['--appendonly', 'no'],
  everysec: ['--appendonly', 'yes', '--appendfsync', 'everysec'],
};

export const start = (persistence) => async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'jobs-redis-'));
  const port = await freePort();
  const place = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder];
  const settings = ['--save', '', ...PERSISTENCE[persistence]];
  const server = spawn(binary(), [...place, ...settings], { stdio: 'ignore' });
  const ended = new Promise((resolve) => server.once('exit', resolve));
  const { Redis } = await import('ioredis');
  const admin = new Redis({ host: '127.0.0.1', port, retryStrategy: () => 50 });
  admin.on('error', () => {});
  await admin.ping();
  const kill = () => {
    admin.disconnect();
    server.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  return {
    async create() {
      await admin.flushall('SYNC');
      return {
        url: `redis://127.0.0.1:${port}`,
        checkpoint: async () => {},
        cpuUs: cpuOf(server.pid),
        drop: async () => {},
      };
    },
    async stop() {
      admin.disconnect();
      server.kill('SIGKILL');
      await ended;
      rmSync(folder, { recursive: true, force: true });
    },
    kill,
  };
};
