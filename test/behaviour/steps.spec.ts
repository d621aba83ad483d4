import type { EntityManager } from 'typeorm';
import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import type { BootedJobs } from '../support/boot.js';
import { handlerGate } from '../support/gate.js';
import { bootWithNotes, countNotes, Note } from '../support/notes.js';
import { codeOf, refusal } from '../support/refusals.js';
import { until, waitForEnd, waitForStatus } from '../support/waiting.js';

type Context = JobContext<unknown, EntityManager>;

const gate = handlerGate();
let calls: string[] = [];
let body: (ctx: Context) => unknown = () => undefined;

@JobType({ name: 'stepped', maxRetries: 3, retryDelay: 1, suspendable: true })
class Stepped implements JobHandler {
  execute(ctx: JobContext): unknown {
    return body(ctx as Context);
  }
}

async function boot(options: object = {}): Promise<BootedJobs> {
  calls = [];
  body = () => undefined;
  return bootWithNotes({ types: [Stepped], options });
}

/** A function that says when it is called. */
const called =
  <T>(name: string, value: T) =>
  (): T => {
    calls.push(name);
    return value;
  };

/** Fails the first run there. */
function failFirst(ctx: Context): void {
  if (ctx.attempt === 1) {
    throw new Error('the first run fails');
  }
}

describe('ctx.step', () => {
  it('calls its function once in the life of the job, and gives back what it gave', async () => {
    const app = await boot();
    body = async (ctx) => {
      const one = await ctx.step('one', called('one', { n: 1, at: new Date(0) }));
      const two = await ctx.step('two', async () => Promise.resolve(called('two', [one.n + 1])()));
      failFirst(ctx);
      const three = await ctx.step('three', called('three', null));
      return [one, two, three];
    };
    const job = await app.run(Stepped);
    expect(job).toMatchObject({ status: 'completed', retries: 1, revision: 2 });
    expect(job.result).toEqual([{ n: 1, at: '1970-01-01T00:00:00.000Z' }, [2], null]);
    expect(calls).toEqual(['one', 'two', 'three']);
  });

  it('gives JSON in the run that makes it as well, and undefined for undefined', async () => {
    const app = await boot();
    const seen: unknown[] = [];
    body = async (ctx) => {
      seen.push(
        await ctx.step('date', () => new Date(0)),
        await ctx.step('nothing', () => undefined),
        await ctx.step('null', () => null),
      );
      failFirst(ctx);
    };
    await app.run(Stepped);
    const once = ['1970-01-01T00:00:00.000Z', undefined, null];
    expect(seen).toEqual([...once, ...once]);
  });

  it('gives back long results too', async () => {
    const app = await boot();
    const texts = [500, 1000, 5000, 200_000].map((length) => 'ü'.repeat(length / 2));
    body = async (ctx) => {
      const values = [];
      for (const [n, text] of texts.entries()) {
        values.push(await ctx.step(`${n}`, called(`${n}`, text)));
      }
      failFirst(ctx);
      return values.map((value) => value.length);
    };
    expect((await app.run(Stepped)).result).toEqual(texts.map((text) => text.length));
    expect(calls).toEqual(['0', '1', '2', '3']);
  });

  it('does not remember a function that throws: its error is the handler’s', async () => {
    const app = await boot();
    body = async (ctx) => {
      await ctx.step('one', called('one', 1));
      await ctx.step('broken', () => {
        calls.push('broken');
        failFirst(ctx);
      });
      return 'done';
    };
    const job = await app.run(Stepped);
    expect(job).toMatchObject({ status: 'completed', result: 'done', retries: 1 });
    expect((await app.jobs.runs(job.id))[0]?.error).toMatch(/the first run fails/);
    expect(calls).toEqual(['one', 'broken', 'broken']);
  });

  it('remembers across suspension and a lost worker', async () => {
    const app = await boot();
    body = async (ctx) => {
      await ctx.step('one', called('one', 1));
      await gate.obey(ctx);
      return 'done';
    };
    const { id } = await app.jobs.enqueue(Stepped);
    await gate.entry(id);
    await app.jobs.suspend(id);
    await waitForStatus(app.jobs, id, 'suspended');
    await app.jobs.resume(id);
    await gate.entry(id, 2);
    await app.workers.interruptRuns({ olderThan: 0 });
    (await gate.entry(id, 3)).release();
    expect(await waitForEnd(app.jobs, id)).toMatchObject({ status: 'completed', revision: 3 });
    expect(calls).toEqual(['one']);
  });

  it('remembers for an operator’s retry too', async () => {
    const app = await boot();
    let isBroken = true;
    body = async (ctx) => {
      await ctx.step('one', called('one', 1));
      await ctx.step('two', () => {
        if (isBroken) throw new Error('broken');
      });
    };
    const job = await app.run(Stepped, {}, { maxRetries: 0 });
    expect(job.status).toBe('failed');
    isBroken = false;
    await app.jobs.retry(job.id);
    expect((await waitForEnd(app.jobs, job.id)).status).toBe('completed');
    expect(calls).toEqual(['one']);
  });

  it('refuses a name twice in a run, and what is no name or function', async () => {
    const app = await boot();
    body = async (ctx) => {
      await ctx.step('one', called('one', 1));
      return [
        await codeOf(ctx.step('one', called('again', 2))),
        await codeOf(ctx.step('', called('empty', 2))),
        await codeOf(ctx.step('x'.repeat(256), called('long', 2))),
        await codeOf(ctx.step(7 as never, called('number', 2))),
        await codeOf(ctx.step('nul\0', called('nul', 2))),
        await codeOf(ctx.step('two', undefined as never)),
      ];
    };
    expect((await app.run(Stepped)).result).toEqual(Array(6).fill('invalid_request'));
    expect(calls).toEqual(['one']);
  });

  it('takes names that differ by case, accents or a blank at the end for different ones', async () => {
    const app = await boot();
    const names = ['a', 'A', 'á', 'a ', 'ß', 'ss', '😀'];
    body = async (ctx) => {
      const values = [];
      for (const name of names) {
        values.push(await ctx.step(name, called(name, name)));
      }
      failFirst(ctx);
      return values;
    };
    expect((await app.run(Stepped)).result).toEqual(names);
    expect(calls).toEqual(names);
  });

  it('bounds results, and refuses what is no JSON', async () => {
    const app = await boot({ limits: { result: 1000, depth: 3 } });
    body = async (ctx) => [
      await codeOf(ctx.step('large', () => 'x'.repeat(2000))),
      await codeOf(ctx.step('deep', () => [[[[[1]]]]])),
      await codeOf(ctx.step('function', () => () => 1)),
      await codeOf(ctx.step('nan', () => Number.NaN)),
      await ctx.step('fits', () => 'x'),
    ];
    expect((await app.run(Stepped)).result).toEqual([
      'too_large',
      'invalid_request',
      'invalid_request',
      'invalid_request',
      'x',
    ]);
  });

  it('runs steps beside each other, and inside of one another', async () => {
    const app = await boot();
    body = async (ctx) => {
      const names = ['a', 'b', 'c'];
      const values = await Promise.all(names.map((name) => ctx.step(name, called(name, name))));
      const outer = await ctx.step('outer', async () => {
        const inner = await ctx.step('inner', called('inner', 1));
        failFirst(ctx);
        return inner + 1;
      });
      return [...values, outer];
    };
    expect((await app.run(Stepped)).result).toEqual(['a', 'b', 'c', 2]);
    expect(calls.toSorted()).toEqual(['a', 'b', 'c', 'inner']);
  });

  it('writes nothing for a run that has lost its job', async () => {
    const app = await boot();
    const outcomes: string[] = [];
    body = async (ctx) => {
      if (ctx.attempt > 1) {
        return ctx.step('one', called('second', 'second'));
      }
      await gate.hold(ctx);
      outcomes.push(await codeOf(ctx.step('one', called('first', 'first'))));
      outcomes.push(await codeOf(ctx.sleep('1h')), await codeOf(ctx.waitForSignal('x')));
      return 'late';
    };
    const { id } = await app.jobs.enqueue(Stepped);
    const first = await gate.entry(id);
    // Elsewhere, so that this process does not know; again if the worker renewed it first.
    await until(async () => {
      await app.sql(
        'UPDATE jobs SET lease_until_ms = 1 WHERE revision = 1 AND lease_until_ms IS NOT NULL',
      );
      return (await app.jobs.get(id)).status === 'completed';
    }, 'the second run');
    first.release();
    await until(() => outcomes.length === 3, 'the first run');
    expect(outcomes).toEqual(['lease_lost', 'lease_lost', 'lease_lost']);
    expect(await app.jobs.get(id)).toMatchObject({ result: 'second', revision: 2 });
    const rows = await app.sql('SELECT result FROM job_steps');
    expect(rows.map((row) => row['result'])).toEqual(['"second"']);
  });

  it('leaves nothing behind a job that is deleted', async () => {
    const app = await boot();
    body = async (ctx) => {
      await ctx.step('one', called('one', 1));
    };
    const { id } = await app.run(Stepped);
    expect(await app.sql('SELECT 1 AS found FROM job_steps')).toHaveLength(1);
    await app.jobs.delete(id);
    expect(await app.sql('SELECT 1 AS found FROM job_steps')).toEqual([]);
  });
});

describe('ctx.transaction in a step', () => {
  it('is made once, though the step fails after its commit', async () => {
    const app = await boot();
    body = (ctx) =>
      ctx.step('write', async () => {
        const first = await ctx.transaction(async (manager) => {
          await manager.save(Note, { text: 'first' });
          return { written: 'first' };
        });
        const second = await ctx.transaction(async (manager) => {
          await manager.save(Note, { text: 'second' });
          failFirst(ctx);
          return 'second';
        });
        return [first, second];
      });
    const job = await app.run(Stepped);
    expect(job).toMatchObject({ status: 'completed', retries: 1 });
    expect(job.result).toEqual([{ written: 'first' }, 'second']);
    expect(await countNotes(app)).toBe(2);
    // Only what is still needed is kept.
    const kept = await app.sql<{ kind: string }>('SELECT kind FROM job_steps');
    expect(kept.map(({ kind }) => kind)).toEqual(['step']);
  });

  it('gives JSON, in the run that makes it as well', async () => {
    const app = await boot();
    const seen: unknown[] = [];
    body = (ctx) =>
      ctx.step('write', async () => {
        seen.push(await ctx.transaction(() => Promise.resolve({ at: new Date(0) })));
        failFirst(ctx);
      });
    await app.run(Stepped);
    expect(seen).toEqual([{ at: new Date(0).toJSON() }, { at: new Date(0).toJSON() }]);
  });

  it('is rolled back whole when what it returns cannot be kept', async () => {
    const app = await boot();
    body = (ctx) =>
      ctx.step('write', () =>
        ctx.transaction(async (manager) => {
          await manager.save(Note, { text: 'x' });
          return () => 'no JSON';
        }),
      );
    const job = await app.run(Stepped, {}, { maxRetries: 0 });
    expect(job).toMatchObject({ status: 'failed' });
    expect(await countNotes(app)).toBe(0);
  });

  it('may complete the job', async () => {
    const app = await boot();
    body = (ctx) =>
      ctx.step('write', () =>
        ctx.transaction(
          async (manager) => {
            await manager.save(Note, { text: 'x' });
            return 'ended';
          },
          { complete: true },
        ),
      );
    expect(await app.run(Stepped)).toMatchObject({ status: 'completed', result: 'ended' });
    expect(await countNotes(app)).toBe(1);
  });

  it('beside other steps does not take what they do for its own', async () => {
    const app = await boot();
    body = async (ctx) => {
      await Promise.all([
        ctx.step('write', () => ctx.transaction((manager) => manager.save(Note, { text: 'x' }))),
        ctx.step('plain', called('plain', 1)),
      ]);
      failFirst(ctx);
    };
    expect(await app.run(Stepped)).toMatchObject({ status: 'completed', retries: 1 });
    expect(calls).toEqual(['plain']);
    expect(await countNotes(app)).toBe(1);
  });

  it('refuses steps and waits inside of it, and waits inside of a step', async () => {
    const app = await boot();
    body = async (ctx) => {
      const inTransaction = await ctx.transaction(async () => [
        await codeOf(ctx.step('inside', called('inside', 1))),
        await codeOf(ctx.sleep(1)),
        await codeOf(ctx.waitForSignal('x')),
      ]);
      const inStep = await ctx.step('outer', async () => [
        await codeOf(ctx.sleep(1)),
        await codeOf(ctx.waitForSignal('x')),
      ]);
      return [...inTransaction, ...inStep];
    };
    expect((await app.run(Stepped)).result).toEqual(Array(5).fill('invalid_request'));
    expect(calls).toEqual([]);
  });

  it('says what to do', async () => {
    const app = await boot();
    const messages: string[] = [];
    body = async (ctx) => {
      await ctx.step('a', async () => messages.push((await refusal(ctx.sleep(1))).message));
    };
    await app.run(Stepped);
    expect(messages[0]).toMatch(/wait between steps/);
  });
});
