import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { bootJobs, type BootedJobs } from '../support/boot.js';
import { createDatabase } from '../support/databases.js';
import { handlerGate } from '../support/gate.js';
import { until, waitForEnd } from '../support/waiting.js';

const gate = handlerGate();

@JobType({ name: 'one', concurrency: { limit: 1, by: 'tenant' } })
class One implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

/** The same type after its limit was taken out of the code. */
@JobType({ name: 'one' })
class OneUnlimited implements JobHandler {
  execute(ctx: JobContext): Promise<unknown> {
    return gate.obey(ctx);
  }
}

async function scopes(app: BootedJobs): Promise<number> {
  const rows = await app.sql("SELECT scope FROM job_limits WHERE limit_key = ''");
  return rows.length;
}

describe('a limit that was taken out of the code', () => {
  it('is remembered for a day, and forgotten then', async () => {
    const database = createDatabase();
    const limited = await bootJobs({ types: [One], database });
    await limited.jobs.enqueue(One);
    expect(await scopes(limited)).toBe(2);
    const [row] = await limited.sql('SELECT MIN(until_ms) AS until_ms FROM job_limits');
    const inMs = Number(row?.['until_ms']) - Date.now();
    expect(inMs).toBeGreaterThan(23 * 3_600_000);
    expect(inMs).toBeLessThan(25 * 3_600_000);
    gate.open();
    await limited.close();
    const free = await bootJobs({ types: [OneUnlimited], database });
    expect(await scopes(free)).toBe(2);
    await free.close();
    const later = await bootJobs({ types: [], database });
    await later.sql('UPDATE job_limits SET until_ms = 1');
    await later.close();
    const last = await bootJobs({ types: [OneUnlimited], database });
    await until(async () => (await scopes(last)) === 0, 'the limit is forgotten');
    const job = await last.jobs.enqueue(OneUnlimited);
    expect((await waitForEnd(last.jobs, job.id)).status).toBe('completed');
  });

  it('and was forgotten, leaves no job behind that was counted by it', async () => {
    const database = createDatabase();
    const producer = await bootJobs({ types: [One], database, options: { role: 'producer' } });
    const ids: string[] = [];
    for (const tenantId of ['a', 'a', 'b']) {
      ids.push((await producer.jobs.enqueue(One, undefined, { tenantId })).id);
    }
    await producer.sql('DELETE FROM job_limits');
    await producer.close();
    const free = await bootJobs({ types: [OneUnlimited], database });
    gate.open();
    for (const id of ids) {
      expect((await waitForEnd(free.jobs, id)).status).toBe('completed');
    }
  });
});
