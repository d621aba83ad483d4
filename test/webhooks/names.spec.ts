import dns from 'node:dns';
import { expect, it, onTestFinished, vi } from 'vitest';
import {
  askServers,
  nameService,
  type NameServers,
  type Resolved,
} from '../../lib/webhooks/names.js';
import { until } from '../support/waiting.js';
import { nameServer } from './name-server.js';

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

function restoreServersLater(): void {
  const servers = dns.getServers();
  onTestFinished(() => dns.setServers(servers));
}

it('asks the name servers that the host has set by then', async () => {
  restoreServersLater();
  const first = await nameServer(() => ['127.0.0.1']);
  const second = await nameServer(() => ['127.0.0.2']);
  dns.setServers([first.address]);
  const ask = askServers();
  expect(await ask('a.test')).toEqual(HERE);
  dns.setServers([second.address]);
  expect(await ask('a.test')).toEqual([{ address: '127.0.0.2', family: 4 }]);
});

/** Name servers of a machine: each time it is asked others, which say that, or nothing. */
function machines(answers: readonly (string | undefined)[]): {
  readonly make: () => NameServers;
  readonly made: NameServers[];
} {
  const made: NameServers[] = [];
  const answer = async (nth: number): Promise<string[]> => {
    const said = answers[nth];
    if (said === undefined) {
      throw Object.assign(new Error('late'), { code: 'ETIMEOUT' });
    }
    return [said];
  };
  const make = (): NameServers => {
    const nth = made.length;
    const servers = {
      resolve4: vi.fn(() => answer(nth)),
      resolve6: vi.fn(() => answer(nth).then(() => [])),
      getServers: () => dns.getServers(),
      setServers: vi.fn(),
    };
    made.push(servers);
    return servers;
  };
  return { make, made };
}

it('asks the machine anew which its name servers are when those that it had do not answer', async () => {
  const { make, made } = machines([undefined, '127.0.0.1']);
  const ask = askServers(make);
  for (let nth = 0; nth < 5; nth += 1) {
    expect(made).toHaveLength(1);
    await expect(ask('a.test')).rejects.toThrow('late');
  }
  expect(await ask('a.test')).toEqual(HERE);
  expect(await ask('a.test')).toEqual(HERE);
  expect(made).toHaveLength(2);
  expect(made[1]?.setServers).not.toHaveBeenCalled();
});

it('asks no others than those that the host has set, however silent they are', async () => {
  restoreServersLater();
  const { make, made } = machines([]);
  const ask = askServers(make);
  dns.setServers(['127.0.0.9']);
  for (let nth = 0; nth < 6; nth += 1) {
    await expect(ask('a.test')).rejects.toThrow('late');
  }
  expect(made).toHaveLength(3);
  expect(made[2]?.setServers).toHaveBeenCalledWith(['127.0.0.9']);
});
