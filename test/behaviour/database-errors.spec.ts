import { execFileSync } from 'node:child_process';
import { chmodSync, readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { JobType, type Job, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { ChildApplication } from '../support/children.js';
import { createDatabase, driverUnderTest, type TestDatabase } from '../support/databases.js';
import { codeOf } from '../support/refusals.js';
import { until, waitForEnd } from '../support/waiting.js';

@JobType({ name: 'marked' })
class Marked implements JobHandler {
  execute(): string {
    return 'here';
  }
}

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): string {
    return 'fine';
  }
}

/** Everything in the folder becomes unwritable for whoever obeys permissions. */
function makeReadOnly(database: TestDatabase): void {
  chmodSync(database.folder, 0o555);
  for (const name of readdirSync(database.folder)) {
    chmodSync(path.join(database.folder, name), 0o444);
  }
}

describe('a database file that may only be read', () => {
  it('gives a clear error to writes, still answers reads, and loses nothing', async () => {
    const app = await bootJobs({ types: [Plain] });
    const job = await app.run(Plain);
    await app.close();
    makeReadOnly(app.database);
    try {
      const child = await ChildApplication.start({
        database: app.database,
        obeysPermissions: true,
        options: { role: 'producer' },
        typeorm: { retryAttempts: 0 },
      });
      const booted = await child.booted();
      expect(booted.event).toBe('ready');
      const refused = child.call('jobs', 'enqueue', 'default:marked');
      await expect(refused).rejects.toMatchObject({ code: 'database_unavailable' });
      await expect(refused).rejects.not.toThrow(/SQLITE|app\.db/);
      expect(await child.call('stats', 'health')).toMatchObject({
        status: expect.not.stringMatching(/^ok$/) as string,
      });
    } finally {
      chmodSync(app.database.folder, 0o755);
      for (const name of readdirSync(app.database.folder)) {
        chmodSync(path.join(app.database.folder, name), 0o644);
      }
    }
    const again = await bootJobs({ types: [Plain], database: app.database });
    expect((await again.jobs.get(job.id)).result).toBe('fine');
    expect((await again.run(Plain)).status).toBe('completed');
  });
});

describe('a database file that must exist and does not', () => {
  it('is an error of the host’s own data source, at boot, and no file is made', async () => {
    const database = createDatabase();
    // Each driver has its own word for it; 2 is SQLite's OPEN_READWRITE without OPEN_CREATE.
    const mustExist = driverUnderTest === 'sqlite3' ? { flags: 2 } : { fileMustExist: true };
    await expect(
      bootJobs({ types: [Plain], database, typeorm: { ...mustExist, retryAttempts: 0 } }),
    ).rejects.toThrow();
    expect(readdirSync(database.folder)).toEqual([]);
  });

  it('is not made by the engine behind the host’s back either', async () => {
    const database = createDatabase();
    const mustExist = driverUnderTest === 'sqlite3' ? { flags: 2 } : { fileMustExist: true };
    const app = await bootJobs({
      types: [Plain],
      database,
      typeorm: { ...mustExist, manualInitialization: true },
    });
    expect(await codeOf(app.jobs.enqueue(Plain))).toBe('database_unavailable');
    expect(readdirSync(database.folder)).toEqual([]);
  });
});

describe('a full disk', () => {
  it('refuses what does not fit, keeps what was acknowledged, and goes on by itself once there is room', async () => {
    const database = createDatabase();
    const options = { role: 'both' as const };
    const first = await bootJobs({ types: [Marked], database, options: { role: 'producer' } });
    await first.close();
    const size = Math.ceil(statSync(database.file as string).size / 1024);
    const child = await ChildApplication.start({ database, options, fileLimit: size + 2500 });

    const acknowledged: string[] = [];
    const codes: string[] = [];
    const params = { ms: 0, ballast: 'x'.repeat(200_000) };
    for (let n = 0; n < 60 && codes.length < 3; n += 1) {
      await child.call<Job>('jobs', 'enqueue', 'default:marked', params, { delay: '1h' }).then(
        (job) => acknowledged.push(job.id),
        (error: { code: string }) => codes.push(error.code),
      );
    }
    expect(acknowledged.length).toBeGreaterThan(3);
    expect(codes).toEqual(['database_unavailable', 'database_unavailable', 'database_unavailable']);
    // Reading works on, and so does the process.
    expect((await child.get(acknowledged[0] as string)).status).toBe('waiting');

    execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited:']);
    const id = await until(
      () =>
        child.call<Job>('jobs', 'enqueue', 'default:marked', { ms: 0 }).then(
          (job) => job.id,
          () => false as const,
        ),
      'room',
    );
    await until(async () => (await child.get(id)).status === 'completed', 'the job to run');
    await child.kill('SIGTERM');

    const again = await bootJobs({ types: [Marked], database });
    for (const each of acknowledged) {
      expect((await again.jobs.get(each)).status).toBe('waiting');
      await again.jobs.update(each, { runAt: new Date() });
      expect((await waitForEnd(again.jobs, each)).result).toBe('here');
    }
    expect(await again.sql('PRAGMA integrity_check')).toEqual([{ integrity_check: 'ok' }]);
  }, 40_000);

  it('does not keep the process from being stopped', async () => {
    const database = createDatabase();
    const child = await ChildApplication.start({
      database,
      options: { grace: { shutdown: '100ms', signal: '100ms' } },
    });
    const { id } = await child.call<Job>('jobs', 'enqueue', 'default:held', {});
    await child.event('started', id);
    execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=1:']);
    const asked = Date.now();
    await child.kill('SIGTERM');
    // Both graces, and what storing an outcome is given at the end.
    expect((child.exit?.at ?? Infinity) - asked).toBeLessThan(13_000);
    const again = await bootJobs({ types: [Plain], database, options: { role: 'producer' } });
    expect(await again.jobs.get(id)).toMatchObject({ status: 'running', revision: 1 });
  }, 30_000);

  it('during a run keeps the outcome until it can be written', async () => {
    const database = createDatabase();
    const child = await ChildApplication.start({ database });
    const { id } = await child.call<Job>('jobs', 'enqueue', 'default:held', { ms: 700 });
    await child.event('started', id);
    // From here on nothing can be written, not even one byte.
    execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=1:']);
    const began = Date.now();
    await until(() => Date.now() > began + 1500, 'the handler to end');
    execFileSync('prlimit', ['--pid', String(child.pid), '--fsize=unlimited:']);
    await until(async () => (await child.get(id)).status === 'completed', 'the outcome', 10_000);
    expect(await child.get(id)).toMatchObject({ result: 1, revision: 1, lost: 0 });
  }, 30_000);
});
