import { expect, inject, it } from 'vitest';
import { JobType, type JobHandler } from '../../lib/index.js';
import { startProxy } from '../postgres/support/proxy.js';
import { bootJobs } from '../support/boot.js';
import { askMariadb } from '../support/mariadb.js';
import { refusal } from '../support/refusals.js';
import { readSlowLogs } from '../support/slow-logs.js';
import { within } from '../support/waiting.js';

@JobType({ name: 'plain' })
class Plain implements JobHandler {
  execute(): void {}
}

it('a read that takes too long is ended by the server, and holds up neither jobs nor other sessions', async () => {
  await readSlowLogs({
    aMinute: 'SLEEP(60) = 0',
    sessions: async ({ database }) => {
      const { database: name } = database.options() as { database: string };
      return Promise.resolve(
        askMariadb(
          `SELECT id FROM information_schema.processlist WHERE db = '${name}' ORDER BY id`,
        ).map(({ id }) => Number(id)),
      );
    },
    cancel: (_app, session) => Promise.resolve(askMariadb(`KILL QUERY ${session}`)),
  });
}, 40_000);

it('a server that takes the login and answers nothing is given up, also before it was seen for the first time', async () => {
  const proxy = await startProxy(inject('mariadb'));
  let give: () => void = () => undefined;
  const kept = new Promise<void>((resolve) => {
    give = resolve;
  });
  void proxy.holdUp('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED', () => kept);
  const options = { role: 'producer' };
  const app = await bootJobs({ types: [Plain], options, typeorm: proxy.options });
  const error = await within(refusal(app.jobs.enqueue(Plain)), 'a refusal', 20_000);
  expect(error).toMatchObject({ code: 'database_unavailable' });
  expect((await app.jobs.enqueue(Plain)).status).toBe('waiting');
  give();
}, 40_000);
