import { beforeAll, describe, expect, it } from 'vitest';
import {
  JobType,
  type Job,
  type JobContext,
  type JobHandler,
  type JobsService,
  type QueuesService,
  type JobStatus,
  type OnJobResume,
} from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { deferred, handlerGate, type Deferred } from '../support/gate.js';
import { codeOf } from '../support/refusals.js';
import { waitForEnd, waitForStatus } from '../support/waiting.js';

/**
 * The matrix of the contract's section 3: every operation on a job in every status, each status
 * reached for real and held open while the operation is tried.
 */
const gate = handlerGate();
const resumes = new Map<string, Deferred>();

/** Runs until the test lets it go, deaf to its signal, so that canceling and suspending last. */
@JobType({ name: 'deaf', suspendable: true })
class Deaf implements JobHandler, OnJobResume {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.hold(ctx);
  }

  async onJobResume(job: Job): Promise<void> {
    await resumes.get(job.id)?.promise;
  }
}

@JobType({ name: 'locking', suspendable: true })
class Locking implements JobHandler {
  async execute(ctx: JobContext<{ other: string }>): Promise<unknown> {
    try {
      return await ctx.lockOn(ctx.params.other);
    } catch {
      // Its signal fired: canceling and suspending last until the test lets it go.
      return gate.hold(ctx as JobContext);
    }
  }
}

@JobType({ name: 'late', timeout: '50ms' })
class Late implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

@JobType({ name: 'quick', suspendable: true })
class Quick implements JobHandler {
  execute(): string {
    return 'done';
  }
}

let jobs: JobsService;
let queues: QueuesService;

beforeAll(async () => {
  const app = await bootJobs({
    types: [Deaf, Locking, Late, Quick],
    options: { queues: { default: 500 }, grace: { shutdown: '1s', signal: '1h' } },
    lifetime: 'file',
  });
  ({ jobs, queues } = app);
});

const FAR = { delay: '1h' } as const;

async function running(): Promise<string> {
  const { id } = await jobs.enqueue(Deaf);
  await gate.entry(id);
  return id;
}

async function suspended(): Promise<string> {
  const { id } = await jobs.enqueue(Deaf, undefined, FAR);
  await jobs.suspend(id);
  return id;
}

/** How a job gets into each status for real; it stays there until the test ends. */
const REACH: Readonly<Record<string, () => Promise<string>>> = {
  waiting: async () => (await jobs.enqueue(Deaf, undefined, FAR)).id,
  resuming: async () => {
    const id = await suspended();
    resumes.set(id, deferred());
    // The hook holds it; letting it go is the clean-up's work, where it may be canceled by then.
    void jobs.resume(id).catch(() => undefined);
    await waitForStatus(jobs, id, 'resuming');
    return id;
  },
  running,
  locked: async () => {
    const other = await jobs.enqueue(Deaf, undefined, FAR);
    const { id } = await jobs.enqueue(Locking, { other: other.id });
    await waitForStatus(jobs, id, 'locked');
    return id;
  },
  canceling: async () => {
    const id = await running();
    await jobs.cancel(id);
    return id;
  },
  suspending: async () => {
    const id = await running();
    await jobs.suspend(id);
    return id;
  },
  suspended,
  skipped: async () => {
    const { id } = await jobs.enqueue(Deaf, undefined, FAR);
    await jobs.skip(id);
    return id;
  },
  canceled: async () => {
    const { id } = await jobs.enqueue(Deaf, undefined, FAR);
    await jobs.cancel(id);
    return id;
  },
  failed: async () => {
    const { id } = await jobs.enqueue(Deaf, undefined, FAR);
    await jobs.fail(id, { reason: 'by hand' });
    return id;
  },
  timeout: async () => {
    const { id } = await jobs.enqueue(Late);
    await waitForEnd(jobs, id);
    return id;
  },
  completed: async () => {
    const { id } = await jobs.enqueue(Quick);
    await waitForEnd(jobs, id);
    return id;
  },
};

const STATUSES = Object.keys(REACH);
const FINAL = ['skipped', 'canceled', 'failed', 'timeout', 'completed'];

/** The code of the answer, then the status that the job is in after a success. */
type Cell = readonly [code: string, after?: string];

function row(cells: Readonly<Record<string, Cell>>, final: Cell): Readonly<Record<string, Cell>> {
  return { ...Object.fromEntries(FINAL.map((status) => [status, final])), ...cells };
}

const SAME: Cell = ['ok'];
const ILLEGAL: Cell = ['illegal_transition'];
const LATER: Cell = ['try_later'];
const ACTIVE: Cell = ['job_active'];
const GONE: Cell = ['ok', 'gone'];

const MATRIX: Readonly<Record<string, Readonly<Record<string, Cell>>>> = {
  cancel: row(
    {
      waiting: ['ok', 'canceled'],
      resuming: ['ok', 'canceled'],
      running: ['ok', 'canceling'],
      locked: ['ok', 'canceling'],
      canceling: SAME,
      suspending: ['ok', 'canceling'],
      suspended: ['ok', 'canceled'],
    },
    SAME,
  ),
  suspend: row(
    {
      waiting: ['ok', 'suspended'],
      resuming: LATER,
      running: ['ok', 'suspending'],
      locked: ['ok', 'suspending'],
      canceling: ILLEGAL,
      suspending: SAME,
      suspended: SAME,
    },
    ILLEGAL,
  ),
  resume: row(
    {
      waiting: SAME,
      resuming: SAME,
      running: SAME,
      locked: SAME,
      canceling: ILLEGAL,
      suspending: LATER,
      suspended: ['ok', 'waiting'],
    },
    ILLEGAL,
  ),
  skip: row(
    {
      waiting: ['ok', 'skipped'],
      resuming: ILLEGAL,
      running: ILLEGAL,
      locked: ILLEGAL,
      canceling: ILLEGAL,
      suspending: ILLEGAL,
      suspended: ILLEGAL,
    },
    ILLEGAL,
  ),
  fail: row(
    {
      waiting: ['ok', 'failed'],
      resuming: ILLEGAL,
      running: ILLEGAL,
      locked: ILLEGAL,
      canceling: ILLEGAL,
      suspending: ILLEGAL,
      suspended: ILLEGAL,
    },
    ILLEGAL,
  ),
  retry: row(
    {
      waiting: ILLEGAL,
      resuming: ILLEGAL,
      running: ILLEGAL,
      locked: ILLEGAL,
      canceling: ILLEGAL,
      suspending: ILLEGAL,
      suspended: ILLEGAL,
      failed: ['ok', 'waiting'],
      timeout: ['ok', 'waiting'],
      canceled: ['ok', 'waiting'],
    },
    ILLEGAL,
  ),
  delete: row(
    {
      waiting: GONE,
      resuming: ACTIVE,
      running: ACTIVE,
      locked: ACTIVE,
      canceling: ACTIVE,
      suspending: ACTIVE,
      suspended: GONE,
    },
    GONE,
  ),
  update: row(
    {
      waiting: SAME,
      resuming: SAME,
      running: SAME,
      locked: SAME,
      canceling: SAME,
      suspending: SAME,
      suspended: SAME,
    },
    ['already_ended'],
  ),
};

/** What the operation resolves with: the status right after its own write. */
async function perform(operation: string, id: string): Promise<string> {
  switch (operation) {
    case 'cancel':
      return (await jobs.cancel(id)).status;
    case 'suspend':
      return (await jobs.suspend(id)).status;
    case 'resume':
      return (await jobs.resume(id)).status;
    case 'skip':
      return (await jobs.skip(id)).status;
    case 'fail':
      return (await jobs.fail(id)).status;
    case 'retry':
      return (await jobs.retry(id)).status;
    case 'update':
      return (await jobs.update(id, { tags: ['seen'] })).status;
    case 'delete':
      await jobs.delete(id);
      return 'gone';
    default:
      throw new Error(`no operation ${operation}`);
  }
}

const CELLS = Object.entries(MATRIX).flatMap(([operation, cells]) =>
  STATUSES.map((status) => ({ operation, status, cell: cells[status] ?? (['missing'] as const) })),
);

describe('operations on statuses', () => {
  it.each(CELLS)('$operation of a $status job: $cell', async ({ operation, status, cell }) => {
    const [code, after] = cell;
    const id = await (REACH[status] as () => Promise<string>)();
    expect((await jobs.get(id)).status).toBe(status);

    let told: string | undefined;
    const answer = await codeOf(perform(operation, id).then((result) => (told = result)));

    expect(answer).toBe(code);
    if (after === 'gone') {
      expect(await codeOf(jobs.get(id))).toBe('not_found');
      return;
    }
    if (code === 'ok') {
      expect(told).toBe(after ?? status);
    }
    const expected: readonly string[] = after === 'waiting' ? AFTER_WAITING : [after ?? status];
    expect(expected).toContain((await jobs.get(id)).status satisfies JobStatus);
    resumes.get(id)?.resolve();
  });

  it('has a row for every operation and a cell for every status', () => {
    for (const cells of Object.values(MATRIX)) {
      expect(Object.keys(cells).sort()).toEqual([...STATUSES].sort());
    }
  });
});

// A worker takes what waits at once; `Late` may even have timed out again.
const AFTER_WAITING = ['waiting', 'running', 'timeout'];

describe('a refusal', () => {
  it('names the status it found and the one that was asked for', async () => {
    const id = await (REACH['completed'] as () => Promise<string>)();
    await expect(jobs.retry(id)).rejects.toThrow(/completed.*waiting|waiting.*completed/s);
    await expect(jobs.suspend(id)).rejects.toThrow(/completed.*suspend|suspend.*completed/s);
  });

  it('with try_later says after how long', async () => {
    const id = await running();
    await expect(jobs.delete(id)).rejects.toMatchObject({
      code: 'job_active',
      status: 423,
      retryAfterSec: expect.any(Number) as number,
    });
  });

  it('of an unknown job is not_found, whatever the operation', async () => {
    const unknown = '01890000-0000-7000-8000-000000000000';
    for (const operation of Object.keys(MATRIX)) {
      expect([operation, await codeOf(perform(operation, unknown))]).toEqual([
        operation,
        'not_found',
      ]);
    }
  });

  it('of a malformed id is invalid_request, whatever the operation', async () => {
    for (const operation of Object.keys(MATRIX)) {
      expect(await codeOf(perform(operation, 'nonsense')), operation).toBe('invalid_request');
    }
  });
});

describe('an operation without effect', () => {
  it('writes nothing', async () => {
    const id = await (REACH['canceled'] as () => Promise<string>)();
    const before = await jobs.get(id);
    await jobs.cancel(id, { reason: 'again' });
    expect(await jobs.get(id)).toEqual(before);
  });
});

describe('an id in upper case', () => {
  it('names the same job in every operation', async () => {
    const { id } = await jobs.enqueue(Deaf, undefined, FAR);
    const upper = id.toUpperCase();
    expect((await jobs.get(upper)).id).toBe(id);
    expect((await jobs.update(upper, { priority: 3 })).priority).toBe(3);
    expect((await jobs.suspend(upper)).status).toBe('suspended');
    expect((await jobs.resume(upper)).status).toBe('waiting');
    expect((await jobs.unlock(upper)).status).toBe('waiting');
    expect((await jobs.cancel(upper)).status).toBe('canceled');
    expect((await jobs.wait(upper)).status).toBe('canceled');
    // Held back: it is due once it is retried.
    await queues.pause('default');
    expect((await jobs.retry(upper)).id).toBe(id);
    expect((await jobs.skip(upper)).status).toBe('skipped');
    await queues.resume('default');
    const failing = await jobs.enqueue(Deaf, undefined, FAR);
    expect((await jobs.fail(failing.id.toUpperCase())).status).toBe('failed');
    expect(await jobs.runs(upper)).toEqual(await jobs.runs(id));
    expect(await jobs.logs(upper)).toEqual(await jobs.logs(id));
    await jobs.delete(upper);
    expect(await codeOf(jobs.get(id))).toBe('not_found');
  });
});

describe('operations of another tenant', () => {
  it('find no job, whatever the operation', async () => {
    const { id } = await jobs.enqueue(Deaf, undefined, { ...FAR, tenantId: 'a' });
    const scope = { tenantId: 'b' };
    const calls: Record<string, Promise<unknown>> = {
      get: jobs.get(id, scope),
      cancel: jobs.cancel(id, scope),
      suspend: jobs.suspend(id, scope),
      resume: jobs.resume(id, scope),
      retry: jobs.retry(id, scope),
      skip: jobs.skip(id, scope),
      fail: jobs.fail(id, scope),
      unlock: jobs.unlock(id, scope),
      update: jobs.update(id, { priority: 9 }, scope),
      delete: jobs.delete(id, scope),
      wait: jobs.wait(id, { ...scope, timeout: 0 }),
      runs: jobs.runs(id, scope),
      logs: jobs.logs(id, scope),
    };
    const codes = Object.entries(calls).map(async ([name, call]) => [name, await codeOf(call)]);
    for (const [name, code] of await Promise.all(codes)) {
      expect([name, code]).toEqual([name, 'not_found']);
    }
    expect(await jobs.get(id, { tenantId: 'a' })).toMatchObject({ status: 'waiting', priority: 0 });
  });
});
