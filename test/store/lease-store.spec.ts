import { expect, it } from 'vitest';
import type { Session } from '../../lib/store/dialects/session.js';
import { runScript } from '../../lib/store/dialects/sql.js';
import type { DutyScripts } from '../../lib/store/typeorm/duty.scripts.js';
import type { JobScripts } from '../../lib/store/typeorm/job.scripts.js';
import { leaseStore } from '../../lib/store/typeorm/lease.store.js';
import { tableNames } from '../../lib/store/typeorm/table-names.js';
import { POSTGRES_WORDS } from '../../lib/store/dialects/postgres/words.js';
import type { Writer } from '../../lib/store/writer.js';

/** Takes a job back; of each try, what ends it and whether that is before it has the row. */
async function takeBack(...ends: readonly [kind: 'busy' | 'held', hasRow: boolean][]) {
  let tries = 0;
  const fail = (): never => {
    throw new Error(ends[tries - 1]?.[0]);
  };
  const session = {
    classify: (error: Error) => error.message,
    transact: async (scripts: Parameters<Session['transact']>[0]) => {
      tries += 1;
      return Promise.resolve(
        scripts.map((script) =>
          runScript(script(0), () => (ends[tries - 1]?.[1] === true ? [] : fail())),
        ),
      );
    },
  } as object as Session;
  const none = (): Writer => fail();
  const { takeBack } = leaseStore({
    tables: tableNames('', undefined, POSTGRES_WORDS),
    scripts: { change: fail } as object as JobScripts,
    duties: {} as DutyScripts,
    session: () => session,
    writer: none,
    aside: none,
  });
  const result = await takeBack('0198c0de-0000-7000-8000-000000000001', () => undefined, 200);
  return { result, tries };
}

it('a job is locked for who takes it back when somebody has its row, whatever was before', async () => {
  expect(await takeBack(['held', false])).toEqual({ result: 'locked', tries: 1 });
  expect(await takeBack(['busy', true], ['held', false])).toEqual({ result: 'locked', tries: 2 });
});

it('a job is not locked for who has its row, and stands in the way of others', async () => {
  expect(await takeBack(['held', true])).toEqual({ result: undefined, tries: 1 });
  const often = Array.from({ length: 9 }, () => ['busy', true] as ['busy', boolean]);
  expect(await takeBack(...often)).toEqual({ result: undefined, tries: 5 });
});
