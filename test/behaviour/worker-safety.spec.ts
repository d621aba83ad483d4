import { Transform } from 'class-transformer';
import { IsOptional } from 'class-validator';
import { afterEach, describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { deferred } from '../support/gate.js';
import { until } from '../support/waiting.js';

/** What the next call returns. */
let output: () => unknown = () => undefined;

@JobType({ group: 'compute', name: 'odd' })
class Odd implements JobHandler {
  execute(): unknown {
    return output();
  }
}

let isNewVersion = false;

class Stored {
  @IsOptional()
  @Transform(({ value }: { value: unknown }) => {
    if (isNewVersion && value === 'old') {
      throw new Error('this version cannot read it');
    }
    return value;
  })
  v?: string;
}

@JobType({ group: 'compute', name: 'picky', params: Stored })
class Picky implements JobHandler<Stored> {
  execute(ctx: JobContext<Stored>): string {
    return `read ${ctx.params.v ?? 'nothing'}`;
  }
  onJobStateUpdate(): void {}
}

const types = [Odd, Picky];
const one = { queues: { compute: 1 } };

afterEach(() => {
  isNewVersion = false;
});

it('what a handler throws acts on no terminal, and begins no line of the log that looks like another', async () => {
  const app = await bootJobs({ types });
  output = () => {
    // Nobody awaits it, so its text goes to the log of the application.
    void Promise.reject(new Error(`red \u001b[31m, \u009b2J, \u202eabc, and\n[Nest] 1 LOG forged`));
    return new Promise((resolve) => setTimeout(resolve, 60_000).unref());
  };
  await app.run(Odd);
  const texts = ['debug', 'log', 'warn', 'error'].flatMap((level) =>
    app.log.texts(level as 'warn'),
  );
  expect(texts.join('\n')).toContain('red \\u001b[31m, \\u009b2J, \\u202eabc, and');
  for (const text of texts) {
    expect(text.replaceAll('\n', '')).not.toMatch(/\p{Cc}|\p{Bidi_Control}/u);
    expect(text).not.toMatch(/\n\[Nest\]/);
  }
});

/** Nothing of the engine was left rejected, and the one slot of the queue is free. */
async function expectAlive(app: BootedJobs, unhandled: readonly unknown[]): Promise<void> {
  output = () => 'alive';
  expect((await app.run(Odd)).result).toBe('alive');
  await until(() => new Promise((resolve) => setImmediate(() => resolve(true))));
  expect(unhandled).toEqual([]);
}

async function listening(work: (unhandled: unknown[]) => Promise<void>): Promise<void> {
  const unhandled: unknown[] = [];
  const listen = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', listen);
  try {
    await work(unhandled);
  } finally {
    process.off('unhandledRejection', listen);
  }
}

class Unspeakable extends Error {
  override get message(): string {
    throw this as Error;
  }
}

const brokenIterable = {
  [Symbol.asyncIterator](): never {
    throw new Error('no iterator');
  },
};

const brokenThen: unknown = new Proxy(
  {},
  {
    has: (_, key) => key === 'then',
    get(_, key) {
      if (key === 'then') {
        throw new Error('no then');
      }
      return undefined;
    },
  },
);

const HOSTILE: Readonly<Record<string, { readonly make: () => unknown; readonly text: RegExp }>> = {
  'an iterable that cannot be iterated': { make: () => brokenIterable, text: /no iterator/ },
  'a promise of an iterable that cannot be iterated': {
    make: () => Promise.resolve(brokenIterable),
    text: /no iterator/,
  },
  'an object whose then throws': { make: () => brokenThen, text: /no then/ },
  'an observable look-alike that throws': {
    make: () => ({
      get lift(): never {
        throw new Error('no lift');
      },
    }),
    text: /no lift/,
  },
  'a rejection that cannot be told': {
    make: () => Promise.reject(new Unspeakable()),
    text: /cannot be read/,
  },
};

describe('a handler that returns', () => {
  it.each(Object.keys(HOSTILE))('%s fails its run, and its slot is free again', async (name) => {
    await listening(async (unhandled) => {
      const app = await bootJobs({ types, options: one });
      output = HOSTILE[name]?.make ?? output;
      const job = await app.run(Odd);
      expect(job).toMatchObject({ status: 'failed', revision: 1 });
      expect(job.error).toMatch(HOSTILE[name]?.text ?? /never/);
      await expectAlive(app, unhandled);
    });
  });
});

describe('a job whose stored params this version cannot read', () => {
  it('fails, though a hook is told of it, and those behind it run', async () => {
    await listening(async (unhandled) => {
      const app = await bootJobs({ types, options: one });
      await app.queues.pause('compute');
      const old = await app.jobs.enqueue(Picky, { v: 'old' });
      const young = await app.jobs.enqueue(Picky, { v: 'young' });
      isNewVersion = true;
      await app.queues.resume('compute');
      expect((await app.jobs.wait(young.id, { timeout: 5000 })).result).toBe('read young');
      const job = await app.jobs.get(old.id);
      expect(job).toMatchObject({ status: 'failed', revision: 1 });
      expect(job.error).toMatch(/this version cannot read it/);
      expect(app.log.texts('error').join('\n')).toMatch(/onJobStateUpdate|told/);
      await expectAlive(app, unhandled);
    });
  });
});

describe('somebody who is told of a job and throws', () => {
  it('harms neither the run nor the slot', async () => {
    await listening(async (unhandled) => {
      const app = await bootJobs({ types, options: one });
      const held = deferred<string>();
      output = () => held.promise;
      const { id } = await app.jobs.enqueue(Odd);
      const hook = Object.getOwnPropertyDescriptor(Odd.prototype, 'onJobStateUpdate');
      Object.defineProperty(Odd.prototype, 'onJobStateUpdate', {
        configurable: true,
        get() {
          throw new Error('not even the hook can be had');
        },
      });
      try {
        held.resolve('done');
        expect((await app.jobs.wait(id, { timeout: 5000 })).result).toBe('done');
      } finally {
        Object.defineProperty(Odd.prototype, 'onJobStateUpdate', hook ?? { value: undefined });
      }
      await expectAlive(app, unhandled);
    });
  });
});
