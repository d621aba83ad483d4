import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler, type LogLevel } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { createDatabase } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { codeOf } from '../support/refusals.js';
import { until, waitForEnd } from '../support/waiting.js';

let body: (ctx: JobContext) => unknown = () => undefined;
const gate = handlerGate();

@JobType({ name: 'logs', maxRetries: 1, retryDelay: 0 })
class Logs implements JobHandler {
  execute(ctx: JobContext): unknown {
    return body(ctx);
  }
}

const types = [Logs];
const trace = { logs: { level: 'trace' } };

afterEach(() => {
  body = () => undefined;
});

async function messages(app: BootedJobs, id: string, query: object = {}): Promise<string[]> {
  const { lines } = await app.jobs.logs(id, query);
  return lines.map((line) => line.message);
}

describe('a job log', () => {
  it('has every line with its level, time, run and fields, in order', async () => {
    const app = await bootJobs({ types, options: trace });
    body = (ctx) => {
      ctx.log.trace('one', { n: 1 });
      ctx.log.debug('two');
      ctx.log.info('three', { deep: { list: [1, null] } });
      ctx.log.warn('four');
      ctx.log.error('five');
    };
    const job = await app.run(Logs);
    const { lines, nextAfter } = await app.jobs.logs(job.id);
    expect(lines.map((line) => [line.level, line.message, line.fields])).toEqual([
      ['trace', 'one', { n: 1 }],
      ['debug', 'two', null],
      ['info', 'three', { deep: { list: [1, null] } }],
      ['warn', 'four', null],
      ['error', 'five', null],
    ]);
    const [run] = await app.jobs.runs(job.id);
    expect(lines.every((line) => line.runId === run?.id && line.at instanceof Date)).toBe(true);
    expect(nextAfter).toBe(lines.at(-1)?.seq);
  });

  it('keeps from the level info by default', async () => {
    const app = await bootJobs({ types });
    body = (ctx) => {
      ctx.log.trace('t');
      ctx.log.debug('d');
      ctx.log.info('i');
    };
    expect(await messages(app, (await app.run(Logs)).id)).toEqual(['i']);
  });

  it('can be read from a level up, after a line, so many at once, and from its end', async () => {
    const app = await bootJobs({ types, options: trace });
    const levels: LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error'];
    body = (ctx) => {
      for (let n = 0; n < 20; n += 1) {
        ctx.log[levels[n % 5] as LogLevel](`line ${n}`);
      }
    };
    const { id } = await app.run(Logs);
    expect(await messages(app, id, { level: 'warn' })).toEqual(
      [3, 4, 8, 9, 13, 14, 18, 19].map((n) => `line ${n}`),
    );
    expect(await messages(app, id, { tail: 3 })).toEqual(['line 17', 'line 18', 'line 19']);
    expect(await messages(app, id, { tail: 2, level: 'error' })).toEqual(['line 14', 'line 19']);

    const walked: string[] = [];
    let after = 0;
    for (;;) {
      const page = await app.jobs.logs(id, { after, limit: 7 });
      if (page.lines.length === 0) {
        expect(page.nextAfter).toBe(after);
        break;
      }
      walked.push(...page.lines.map((line) => line.message));
      after = page.nextAfter;
    }
    expect(walked).toEqual(Array.from({ length: 20 }, (_, n) => `line ${n}`));
  });

  it('can be read while the job runs', async () => {
    const app = await bootJobs({ types });
    body = async (ctx) => {
      ctx.log.info('before');
      await gate.hold(ctx);
      ctx.log.info('after');
    };
    const { id } = await app.jobs.enqueue(Logs);
    const { release } = await gate.entry(id);
    await until(async () => (await messages(app, id)).length === 1, 'the first line');
    release();
    await waitForEnd(app.jobs, id);
    expect(await messages(app, id)).toEqual(['before', 'after']);
  });

  it('has the lines of all runs, told apart by run', async () => {
    const app = await bootJobs({ types });
    body = (ctx) => {
      ctx.log.info(`attempt ${ctx.attempt}`);
      if (ctx.attempt === 1) {
        throw new Error('again');
      }
    };
    const { id } = await app.run(Logs);
    const { lines } = await app.jobs.logs(id);
    const runs = await app.jobs.runs(id);
    expect(lines.map((line) => [line.message, line.runId])).toEqual([
      ['attempt 1', runs[0]?.id],
      ['attempt 2', runs[1]?.id],
    ]);
  });

  it('cuts a line above 16 kB and says so', async () => {
    const app = await bootJobs({ types });
    body = (ctx) => {
      ctx.log.info('x'.repeat(16_000));
      ctx.log.info('ä'.repeat(20_000));
    };
    const [short, long] = await messages(app, (await app.run(Logs)).id);
    expect(short).toHaveLength(16_000);
    expect(Buffer.byteLength(long as string)).toBeLessThanOrEqual(16_384);
    expect(long).toMatch(/cut/);
    expect(long).not.toMatch(/\ufffd/);
  });

  it('ends at its limit of lines a run and says so, once', async () => {
    const app = await bootJobs({ types, options: { limits: { logLines: 50 } } });
    body = (ctx) => {
      for (let n = 0; n < 80; n += 1) {
        ctx.log.info(`line ${n}`);
      }
      if (ctx.attempt === 1) {
        throw new Error('again');
      }
    };
    const { id } = await app.run(Logs);
    const { lines } = await app.jobs.logs(id, { limit: 1000 });
    const runs = await app.jobs.runs(id);
    for (const run of runs) {
      const own = lines.filter((line) => line.runId === run.id);
      expect(own.map((line) => line.message)).toEqual([
        ...Array.from({ length: 49 }, (_, n) => `line ${n}`),
        'The log ends here: a run keeps 50 lines.',
      ]);
      expect(own).toHaveLength(50);
      expect(own.at(-1)?.level).toBe('warn');
    }
  });

  it('says nothing about its limit while fewer lines come', async () => {
    const app = await bootJobs({ types, options: { limits: { logLines: 3 } } });
    body = (ctx) => {
      ctx.log.info('one');
      ctx.log.info('two');
      ctx.log.debug('of a level that is not kept');
    };
    expect(await messages(app, (await app.run(Logs)).id)).toEqual(['one', 'two']);
  });

  it.each([
    [1, ['The log ends here: a run keeps 1 line.']],
    [0, []],
  ])('with a limit of %i has no more lines than that', async (logLines, kept) => {
    const app = await bootJobs({ types, options: { limits: { logLines } } });
    body = (ctx) => {
      ctx.log.info('one');
      ctx.log.info('two');
    };
    expect(await messages(app, (await app.run(Logs)).id)).toEqual(kept);
  });

  it('takes anything for a line: control characters, NUL, a lone surrogate, no text at all', async () => {
    const app = await bootJobs({ types });
    const hostile = [
      '\u001b[31mred\u001b[0m',
      'a\0b',
      '\ud800',
      'line\nbreak\r\n',
      '',
      undefined,
      null,
      42,
      { a: 1 },
    ];
    body = (ctx) => {
      for (const message of hostile) {
        ctx.log.info(message as string);
      }
      ctx.log.info('fields', { big: 1n } as unknown as Record<string, never>);
      ctx.log.info(Object.create(null) as string);
      const cyclic: Record<string, never> = {};
      (cyclic as Record<string, unknown>)['self'] = cyclic;
      ctx.log.info('cyclic', cyclic);
      ctx.log.info('good');
    };
    const job = await app.run(Logs);
    expect(job.status).toBe('completed');
    const lines = await messages(app, job.id);
    expect(lines.at(-1)).toBe('good');
    expect(lines).toHaveLength(hostile.length + 4);
    expect(lines[1]).toMatch(/^a.b$/);
  });

  it('is not written to once the run has ended', async () => {
    const app = await bootJobs({ types });
    let stale: JobContext | undefined;
    body = (ctx) => {
      stale = ctx;
      ctx.log.info('in time');
    };
    const { id } = await app.run(Logs);
    stale?.log.info('too late');
    await app.run(Logs);
    expect(await messages(app, id)).toEqual(['in time']);
  });

  it.each<[string, object]>([
    ['a limit of 0', { limit: 0 }],
    ['a limit above 1000', { limit: 1001 }],
    ['a tail of 0', { tail: 0 }],
    ['an unknown level', { level: 'loud' }],
    ['a negative after', { after: -1 }],
    ['an after that is text', { after: '1; DROP TABLE jobs' }],
  ])('refuses %s', async (_, query) => {
    const app = await bootJobs({ types, options: { role: 'producer' } });
    const { id } = await app.jobs.enqueue(Logs);
    expect(await codeOf(app.jobs.logs(id, query))).toBe('invalid_request');
  });

  it('is written to rotating files as well, when they are configured', async () => {
    const database = createDatabase();
    const file = path.join(database.folder, 'logs', 'jobs.log');
    const app = await bootJobs({
      types,
      database,
      options: {
        logs: { level: 'error', file: { path: file, level: 'debug', maxSize: '1MB', maxFiles: 3 } },
      },
    });
    body = (ctx) => {
      ctx.log.trace('not at all');
      ctx.log.debug('only in the file');
      ctx.log.error('in both', { n: 1 });
    };
    const job = await app.run(Logs);
    expect(await messages(app, job.id)).toEqual(['in both']);
    await app.close();
    const text = readdirSync(path.dirname(file))
      .map((name) => readFileSync(path.join(path.dirname(file), name), 'utf8'))
      .join('');
    expect(text).toMatch(/only in the file/);
    expect(text).toMatch(/in both/);
    expect(text).not.toMatch(/not at all/);
    expect(text).toContain(job.id);
    // One line each, whatever is in them.
    expect(text.trim().split('\n')).toHaveLength(2);
  });

  it('has nothing in its files that acts on a terminal, and is in the database as it was said', async () => {
    const database = createDatabase();
    const file = path.join(database.folder, 'jobs.log');
    const app = await bootJobs({ types, database, options: { logs: { file: { path: file } } } });
    const codes = Array.from({ length: 0xa0 }, (_, code) => code + 1);
    codes.push(0x61c, 0x200e, 0x200f, 0x2028, 0x2029, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e);
    codes.push(0x2066, 0x2067, 0x2068, 0x2069);
    const hostile = codes.map((code) => `<${String.fromCodePoint(code)}[31m>`);
    body = (ctx) => hostile.forEach((text) => ctx.log.info(text, { [text]: [text] }));
    const { id } = await app.run(Logs);
    const { lines } = await app.jobs.logs(id, { limit: 1000 });
    const said = hostile.map((text) => [text, { [text]: [text] }]);
    expect(lines.map(({ message, fields }) => [message, fields])).toEqual(said);
    await app.close();

    const text = readFileSync(file, 'utf8');
    const rows = text.trimEnd().split('\n');
    expect(rows.filter((row) => /[\p{Cc}\p{Bidi_Control}\u2028\u2029]/u.test(row))).toEqual([]);
    const written = rows.map((row) => JSON.parse(row) as { message: string; fields: unknown });
    expect(written.map(({ message, fields }) => [message, fields])).toEqual(said);
  });

  it('cuts fields above 16 kB in its files as in the database', async () => {
    const database = createDatabase();
    const file = path.join(database.folder, 'jobs.log');
    const app = await bootJobs({ types, database, options: { logs: { file: { path: file } } } });
    body = (ctx) => ctx.log.info('much', { text: 'x'.repeat(100_000) });
    const { id } = await app.run(Logs);
    const [line] = (await app.jobs.logs(id)).lines;
    await app.close();
    const written = JSON.parse(readFileSync(file, 'utf8')) as { fields: { cut: string } };
    expect(Buffer.byteLength(JSON.stringify(written.fields))).toBeLessThanOrEqual(16_384);
    expect(written.fields).toEqual(line?.fields);
    expect(written.fields.cut).toMatch(/cut/);
  });
});
