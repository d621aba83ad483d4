import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { ChildApplication } from '../support/children.js';
import { createDatabase, missingDatabase } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { codeOf } from '../support/refusals.js';
import { waitForEnd, within } from '../support/waiting.js';
import { lockForWriting } from '../support/write-lock.js';

const gate = handlerGate();

@JobType({ group: 'compute', name: 'quick' })
class Quick implements JobHandler {
  execute(): string {
    return 'quick';
  }
}

@JobType({ group: 'compute', name: 'held' })
class Held implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ group: 'download', name: 'also-held' })
class AlsoHeld implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }
}

@JobType({ name: 'marked' })
class Marked implements JobHandler {
  execute(): void {}
}

const types = [Quick, Held];

describe('a database that somebody else keeps locked', () => {
  it('does not hold up the boot; callers are told, and all works once it is free', async () => {
    const first = await bootJobs({ types, options: { role: 'producer' } });
    const unlock = await lockForWriting(first.dataSource);
    const booting = bootJobs({ types, database: first.database });
    const app = await within(booting, 'boot', 4000);
    const enqueued = codeOf(app.jobs.enqueue(Quick));
    expect(await within(enqueued, 'the enqueue', 7000)).toBe('database_busy');
    await unlock();
    expect((await app.run(Quick)).result).toBe('quick');
  }, 20_000);

  it('does not keep the application from closing, with claims that are not started either, and is told of in few lines', async () => {
    const app = await bootJobs({
      types: [...types, AlsoHeld],
      options: {
        queues: { compute: 1 },
        grace: { shutdown: '100ms', signal: '100ms' },
      },
    });
    const holder = await bootJobs({ types, options: { role: 'producer' }, database: app.database });
    await Promise.all(Array.from({ length: 60 }, () => app.run(Quick)));
    await app.queues.pause('compute');
    const { id } = await app.jobs.enqueue(Held);
    await app.jobs.enqueueMany(Array.from({ length: 50 }, () => ({ type: Quick })));
    await app.queues.resume('compute');
    await gate.entry(id);
    const held = await app.jobs.enqueueMany(Array.from({ length: 5 }, () => ({ type: AlsoHeld })));
    for (const { job } of held) {
      await gate.entry(job?.id ?? '');
    }
    expect((await app.jobs.list({ status: 'running' })).total).toBe(56);
    const unlock = await lockForWriting(holder.dataSource);
    for (const { job } of held) {
      (await gate.entry(job?.id ?? '')).ctx.progress(0.5);
    }
    await within(app.close(), 'close', 11_000);
    await unlock();
    expect((await holder.jobs.list({ status: 'running' })).total).toBe(56);
    // Nest has one logger, the one of who booted last.
    const given = holder.log
      .texts('warn')
      .filter((text) => text.includes('could not be given back'));
    expect(given).toEqual([
      expect.stringMatching(/^50 jobs .*, …\) could not be given back; they/),
    ]);
    const settled = holder.log
      .texts('error')
      .filter((text) => text.includes('could not be settled'));
    expect(settled.filter((text) => text.startsWith('5 jobs'))).toEqual([
      expect.stringContaining('download:also-held'),
    ]);
    expect(settled.filter((text) => text.includes('compute:held'))).toHaveLength(1);
    const progress = holder.log.texts('warn').filter((text) => text.startsWith('Progress of'));
    expect(progress).toEqual([
      expect.stringMatching(/^Progress of 5 jobs \(.*, …\) was not stored/),
    ]);
  }, 25_000);
});

describe('an application whose engine was not started', () => {
  it('opens the database with its first call, whichever that is', async () => {
    const first = await bootJobs({ types, options: { role: 'producer' } });
    const { id } = await first.jobs.enqueue(Quick);
    const idle = await bootJobs({
      types,
      options: { autoStart: false },
      database: first.database,
    });
    await idle.jobs.delete(id);
    expect(await codeOf(first.jobs.get(id))).toBe('not_found');
  });
});

describe('a worker process whose database is not there at boot', () => {
  it('stays, and works once it is', async () => {
    const database = createDatabase();
    const { name, create } = missingDatabase(database);
    const worker = await ChildApplication.start({
      database,
      options: { role: 'worker' },
      typeorm: { database: name, manualInitialization: true },
    });
    await worker.call('process', 'alone');
    create();
    const producer = await bootJobs({
      types: [Marked],
      options: { role: 'producer' },
      database,
      typeorm: { database: name },
    });
    const { id } = await producer.jobs.enqueue(Marked);
    expect(await waitForEnd(producer.jobs, id)).toMatchObject({ status: 'completed', error: null });
    expect(worker.exit).toBeUndefined();
  }, 30_000);
});

describe('a job whose group has moved to another queue', () => {
  it('wakes the queue of today when it is run again', async () => {
    const groups = (queue: string) => ({
      groups: [{ name: 'moving', queue }],
      queues: { before: 1, after: 1 },
    });
    let isBroken = true;
    @JobType({ group: 'moving', name: 'moves' })
    class Moves implements JobHandler {
      execute(): string {
        if (isBroken) {
          throw new Error('not yet');
        }
        return 'moved';
      }
    }
    const before = await bootJobs({ types: [Moves], options: groups('before') });
    const failed = await before.run(Moves);
    expect(failed.status).toBe('failed');
    await before.close();
    isBroken = false;
    const after = await bootJobs({
      types: [Moves],
      options: groups('after'),
      database: before.database,
    });
    await after.jobs.retry(failed.id);
    expect((await waitForEnd(after.jobs, failed.id, 2000)).result).toBe('moved');
  });
});
