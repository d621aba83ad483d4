import { expect, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { bootJobs } from '../support/boot.js';
import { until } from '../support/waiting.js';

const MOST = 2;
const PERIOD_MS = 600;

@JobType({ name: 'rated', rate: { max: MOST, per: PERIOD_MS } })
class Rated implements JobHandler {
  execute(): void {}
}

it('a rate holds by when jobs were claimed in fact, however long a claim takes', async () => {
  const app = await bootJobs({ types: [Rated] });
  await app.sql('CREATE TABLE claimed (at_ms DOUBLE PRECISION)');
  await app.sql(`CREATE FUNCTION claims_slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_sleep(0.15);
    INSERT INTO claimed VALUES (extract(epoch FROM clock_timestamp()) * 1000);
    RETURN NEW;
  END $$`);
  await app.sql(`CREATE TRIGGER claims_slowly BEFORE UPDATE ON jobs FOR EACH ROW
    WHEN (OLD.status = 'waiting' AND NEW.status = 'running') EXECUTE FUNCTION claims_slowly()`);
  await app.jobs.enqueueMany(Array.from({ length: 4 * MOST }, () => ({ type: Rated })));
  const times = await until(async () => {
    const rows = await app.sql<{ at: number }>('SELECT at_ms AS at FROM claimed ORDER BY at_ms');
    return rows.length === 4 * MOST && rows.map(({ at }) => at);
  }, 'all to be claimed');
  const periods = times.slice(MOST).map((at, n) => at - (times[n] ?? 0));
  // But for what is rounded.
  expect(Math.min(...periods)).toBeGreaterThan(PERIOD_MS - 2);
});
