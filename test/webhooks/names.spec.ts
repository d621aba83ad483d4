import { expect, it, vi } from 'vitest';
import { nameService, type Resolved } from '../../lib/webhooks/names.js';
import { until } from '../support/waiting.js';

const HERE: readonly Resolved[] = [{ address: '127.0.0.1', family: 4 }];
const unknown = (): Promise<never> =>
  Promise.reject(Object.assign(new Error('no such name'), { code: 'ENOTFOUND' }));
const never = (): Promise<never> => new Promise(() => undefined);

it('asks the operating system only for names that name servers do not know, or that have no dot', async () => {
  const system = vi.fn(async () => HERE);
  const names = nameService(async (host) => (host === 'known.test' ? HERE : unknown()), system);
  expect(await names('known.test', 'ann')).toEqual(HERE);
  expect(system).not.toHaveBeenCalled();
  expect(await names('host', 'ann')).toEqual(HERE);
  expect(await names('in-a-file.test', 'ann')).toEqual(HERE);
  expect(system.mock.calls).toEqual([['host'], ['in-a-file.test']]);
});

it('asks the operating system nothing where name servers take their time', async () => {
  const system = vi.fn(async () => HERE);
  const late = (): Promise<never> =>
    Promise.reject(Object.assign(new Error('late'), { code: 'ETIMEOUT' }));
  await expect(nameService(late, system)('slow.test', 'ann')).rejects.toThrow('late');
  expect(system).not.toHaveBeenCalled();
});

it('has one thread for each who asks and two for all, however many ask', async () => {
  const asked: string[] = [];
  const names = nameService(unknown, (host) => {
    asked.push(host);
    return never();
  });
  for (const who of ['ann', 'bob', 'eve']) {
    for (let nth = 0; nth < 10; nth += 1) {
      names(`${who}-${nth}`, who).catch(() => undefined);
    }
  }
  expect(await names('more', 'ann').catch((error: unknown) => error)).toMatchObject({
    code: 'EAI_AGAIN',
  });
  expect(asked).toEqual(['ann-0', 'bob-0']);
});

it('lets others ask however many names of one are slow, and takes turns', async () => {
  const answers: (() => void)[] = [];
  const asked: string[] = [];
  const names = nameService((host) => {
    asked.push(host);
    return new Promise((resolve) => answers.push(() => resolve(HERE)));
  }, never);
  const slow = Array.from({ length: 100 }, (_, nth) => names(`${nth}.slow.test`, 'ann'));
  const other = names('quick.test', 'bob');
  expect(asked).toHaveLength(33);
  answers.at(-1)?.();
  expect(await other).toEqual(HERE);
  answers.splice(0).forEach((answer) => answer());
  await until(() => answers.length > 0, 'the next ones');
  await until(() => {
    answers.splice(0).forEach((answer) => answer());
    return asked.length === 101;
  }, 'all of them');
  answers.forEach((answer) => answer());
  await Promise.all(slow);
  expect(asked.slice(0, 3)).toEqual(['0.slow.test', '1.slow.test', '2.slow.test']);
});
