import { it } from 'vitest';
import { askMariadb } from '../support/mariadb.js';
import { readSlowLogs } from '../support/slow-logs.js';

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
