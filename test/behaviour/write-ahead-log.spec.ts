import { statSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { until } from '../support/waiting.js';

const MB = 1024 ** 2;

@JobType({ name: 'quick' })
class Quick implements JobHandler {
  execute(): string {
    return 'quick';
  }
}

/** Bytes of the file. */
function logOf({ database }: BootedJobs): number {
  return statSync(`${database.file}-wal`, { throwIfNoEntry: false })?.size ?? 0;
}

/** Writes about 2 MB. */
async function write({ jobs }: BootedJobs): Promise<void> {
  const each = { type: Quick, params: { ballast: 'x'.repeat(200_000) }, delay: '1h' } as const;
  await jobs.enqueueMany(Array.from({ length: 10 }, () => each));
}

async function fillLog(app: BootedJobs, bytes: number): Promise<void> {
  while (logOf(app) < bytes) {
    await write(app);
  }
}

/** Reads the file, and what it looks like now, until the given function is called. */
async function read({ dataSource }: BootedJobs): Promise<() => Promise<void>> {
  const runner = dataSource.createQueryRunner();
  await runner.query('BEGIN');
  await runner.query('SELECT count(*) FROM job_rows');
  return async () => {
    await runner.query('COMMIT');
    await runner.release();
  };
}

describe('the write-ahead log of a file', () => {
  it('is as large as what is written while somebody reads, and small again soon after, while work goes on', async () => {
    const app = await bootJobs({ types: [Quick] });
    await app.run(Quick);
    const end = await read(app);
    await fillLog(app, 40 * MB);
    expect((await app.run(Quick)).status).toBe('completed');
    await end();
    await until(async () => {
      await app.run(Quick);
      return logOf(app) < 16 * MB;
    }, 'a small log');
    expect(app.log.texts('warn').filter((text) => text.includes('write-ahead'))).toEqual([]);
    // As before, commits see to it while nobody is in the way.
    for (let times = 0; times < 20; times += 1) {
      await write(app);
      expect(logOf(app)).toBeLessThan(20 * MB);
    }
  });

  it('is told of, once, where a reader keeps it for long', async () => {
    const app = await bootJobs({ types: [Quick] });
    const told = (): string[] =>
      app.log.texts('warn').filter((text) => text.startsWith('The write-ahead log'));
    const end = await read(app);
    await fillLog(app, 130 * MB);
    await until(() => told().length > 0, 'the warning', 12_000);
    expect((await app.run(Quick)).status).toBe('completed');
    await end();
    await until(() => logOf(app) < 16 * MB, 'a small log', 12_000);
    expect(told()).toHaveLength(1);
  }, 40_000);
});
