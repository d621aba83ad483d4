import { IsString } from 'class-validator';
import { describe, expect, it } from 'vitest';
import {
  isJobsError,
  JobType,
  type Class,
  type JobHandler,
  type JobTypeOptions,
} from '../../lib/index.js';
import { bootJobs, type Boot } from '../support/boot.js';

/** The message of the error that boot ends with; it must be one of ours. */
async function bootError(boot: Boot): Promise<string> {
  try {
    await bootJobs(boot);
  } catch (error) {
    if (isJobsError(error)) {
      expect(error.code).toBe('invalid_options');
      return error.message;
    }
    throw error;
  }
  throw new Error('It booted.');
}

const WRONG: readonly (readonly [string, object, RegExp])[] = [
  ['an unknown option', { concurency: 5 }, /concurency/],
  ['an unknown role', { role: 'boss' }, /role.*producer/s],
  ['autoStart as a text', { autoStart: 'no' }, /autoStart/],
  ['a queue without room', { queues: { mail: 0 } }, /mail/],
  ['half a handler', { queues: { mail: { capacity: 1.5 } } }, /mail/],
  ['a queue option that is unknown', { queues: { mail: { size: 5 } } }, /size.*capacity/s],
  ['a queue name with a space', { queues: { 'my mail': 1 } }, /my mail/],
  [
    'a group of an unknown queue',
    { groups: [{ name: 'reports', queue: 'nope' }] },
    /reports.*nope.*compute/s,
  ],
  ['a group twice', { groups: [{ name: 'a' }, { name: 'a' }] }, /"a".*twice/s],
  ['a group without a name', { groups: [{ queue: 'compute' }] }, /name of a group/],
  ['a group option that is unknown', { groups: [{ name: 'a', capacity: 1 }] }, /capacity/],
  ['groups that are no array', { groups: { a: 'compute' } }, /groups/],
  ['a lease below a second', { lease: { duration: '500ms' } }, /lease\.duration.*1 s/s],
  ['a sweep below 0.2 seconds', { lease: { sweep: 100 } }, /lease\.sweep.*0\.2/s],
  ['a negative maxLost', { lease: { maxLost: -1 } }, /lease\.maxLost/],
  ['an unknown lease option', { lease: { durations: 1 } }, /lease\.durations.*duration/s],
  ['a grace that is no duration', { grace: { signal: 'soon' } }, /grace\.signal.*soon/s],
  ['a retention that is no duration', { retention: { completed: 'long' } }, /retention\.completed/],
  [
    'a retention of a status that does not end',
    { retention: { running: '1d' } },
    /retention\.running/,
  ],
  ['retention true', { retention: true }, /retention/],
  ['negative retries', { defaults: { maxRetries: -1 } }, /defaults\.maxRetries/],
  ['an unknown backoff', { defaults: { backoff: 'weekly' } }, /defaults\.backoff.*exponential/s],
  [
    'a jitter above 1',
    { defaults: { backoff: { type: 'fixed', jitter: 2 } } },
    /defaults\.backoff\.jitter/,
  ],
  ['no channels', { channels: [] }, /channels/],
  ['all channels in an array', { channels: ['*'] }, /channels: '\*', without the array/],
  ['all channels beside others', { channels: ['', '*'] }, /channels: '\*', without the array/],
  ['a channel that is too long', { channels: ['💥'.repeat(65)] }, /channels.*64/],
  ['a channel that no job can have', { channels: ['a\0'] }, /channels.*64/],
  ['a limit that is a text', { limits: { params: '256kB' } }, /limits\.params/],
  ['an unknown limit', { limits: { tags: 3 } }, /limits\.tags/],
  ['a depth that no call stack holds', { limits: { depth: 257 } }, /limits\.depth is 257.*256/],
  ['an unknown log level', { logs: { level: 'loud' } }, /logs\.level.*warn/s],
  ['log files without a path', { logs: { file: { maxFiles: 2 } } }, /logs\.file\.path/],
  ['an unknown migration mode', { database: { migrate: 'yes' } }, /database\.migrate.*check/s],
  ['an unknown group of routes', { api: { only: ['jobs', 'secrets'] } }, /api\.only.*secrets/s],
  ['a path that is a number', { api: { path: 5 } }, /api\.path/],
  ['isGlobal as a text', { isGlobal: 'no' }, /isGlobal.*true or false/],
  ['an option that is null', { api: null }, /api is null/],
  ['queues that are a list', { queues: ['mail'] }, /queues.*object/],
  ['a description that is no text', { groups: [{ name: 'a', description: 5 }] }, /"a" is 5/],
  ['a version that is a number', { api: { version: 1 } }, /api\.version.*text/],
  ['no version at all', { api: { version: [] } }, /api\.version/],
  ['a guard outside of a list', { api: { guards: class {} } }, /api\.guards.*array/],
  ['a guard that guards nothing', { api: { guards: [{}] } }, /api\.guards\[0\].*canActivate/],
  ['an interceptor that is none', { api: { interceptors: ['log'] } }, /api\.interceptors\[0\]/],
  ['groups of routes outside of a list', { api: { only: 'jobs' } }, /api\.only.*array/],
  ['identify that is no function', { identify: 'tenant' }, /identify/],
  ['a dashboard of a later version', { dashboard: {} }, /dashboard.*not part of this version/s],
  [
    'remote workers of a later version',
    { workers: { keys: [] } },
    /workers.*not part of this version/s,
  ],
  ['webhooks of another shape', { webhooks: { endpoint: [] } }, /webhooks.endpoint/],
  [
    'an endpoint inside',
    { webhooks: { endpoints: [{ url: 'https://10.0.0.1/', secret: 'x' }] } },
    /endpoints.0.url.*private/s,
  ],
  [
    'an endpoint without a secret',
    { webhooks: { endpoints: [{ url: 'https://example.com/' }] } },
    /endpoints.0.secret.*whsec_/s,
  ],
  ['a secret of another kind', { webhooks: { secret: 'short' } }, /webhooks.secret.*whsec_/s],
  ['a short key', { webhooks: { encryptionKey: 'short' } }, /encryptionKey.*32/s],
  ['a wait of another kind', { webhooks: { retry: ['soon'] } }, /webhooks.retry.0/],
  [
    'remote types of a later version',
    { remoteTypes: [] },
    /remoteTypes.*not part of this version/s,
  ],
];

describe('boot refuses', () => {
  it.each(WRONG)('%s, naming the key and the fix', async (_, options, message) => {
    const text = await bootError({ options });
    expect(text).toMatch(message);
    expect(text).toMatchSnapshot();
  });
});

function typeOf(options: object): Boot['types'] {
  @JobType(options as JobTypeOptions)
  class Declared implements JobHandler {
    execute(): void {}
  }
  return [Declared];
}

const WRONG_TYPES: readonly (readonly [string, object, RegExp])[] = [
  ['a name with a space', { name: 'my job' }, /my job/],
  ['a name with a colon', { name: 'a:b' }, /a:b/],
  ['no name', {}, /name/],
  ['a name of 65 characters', { name: 'n'.repeat(65) }, /name/],
  ['an unknown group', { name: 'x', group: 'nowhere' }, /nowhere.*groups/s],
  ['a timeout that is no duration', { name: 'x', timeout: 'never' }, /timeout.*never/s],
  ['negative retries', { name: 'x', maxRetries: -1 }, /maxRetries/],
  ['a bad retry delay', { name: 'x', retryDelay: 'later' }, /retryDelay/],
  ['a bad backoff', { name: 'x', backoff: 'weekly' }, /backoff/],
  ['version 0', { name: 'x', version: 0 }, /version/],
  ['an unknown option', { name: 'x', retries: 3 }, /retries/],
  ['a description that is no text', { name: 'x', description: 5 }, /description/],
  ['suspendable as a text', { name: 'x', suspendable: 'no' }, /suspendable.*true or false/],
  ['retryOnTimeout as a number', { name: 'x', retryOnTimeout: 1 }, /retryOnTimeout/],
  ['params that are no class', { name: 'x', params: { a: 1 } }, /params/],
  ['uniqueness as false', { name: 'x', unique: false }, /unique/],
  ['an unknown end of uniqueness', { name: 'x', unique: { until: 'ended' } }, /unique\.until/],
  ['a bad time of uniqueness', { name: 'x', unique: { within: 'long' } }, /unique\.within/],
];

describe('boot refuses a job type with', () => {
  it.each(WRONG_TYPES)('%s, naming the type and the fix', async (_, options, message) => {
    const text = await (async () => bootError({ types: typeOf(options) }))();
    expect(text).toMatch(message);
    expect(text).toMatchSnapshot();
  });

  it('an id that another class has, naming both', async () => {
    @JobType({ name: 'same' })
    class First implements JobHandler {
      execute(): void {}
    }
    @JobType({ name: 'same' })
    class Second implements JobHandler {
      execute(): void {}
    }
    const text = await bootError({ types: [First, Second] });
    expect(text).toMatch(/default:same/);
    expect(text).toMatch(/First/);
    expect(text).toMatch(/Second/);
  });

  it('no execute', async () => {
    class Idle {}
    // Types refuse it as well; this is for those who write JavaScript.
    JobType({ name: 'idle' })(Idle as Class<JobHandler>);
    const text = await bootError({ types: [Idle] });
    expect(text).toMatch(/Idle/);
    expect(text).toMatch(/execute/);
  });

  it('params whose class needs arguments to be made', async () => {
    class Needy {
      @IsString()
      text: string;
      constructor(source: { text: string }) {
        this.text = source.text;
      }
    }
    const text = await bootError({ types: typeOf({ name: 'needy', params: Needy }) });
    expect(text).toMatch(/Needy/);
  });
});

describe('boot takes', () => {
  it('no options at all', async () => {
    @JobType({ name: 'x' })
    class Plain implements JobHandler {
      execute(): string {
        return 'fine';
      }
    }
    const app = await bootJobs({ types: [Plain] });
    expect((await app.run(Plain)).result).toBe('fine');
  });

  it('options that are frozen, and changes of them afterwards change nothing', async () => {
    const options = { queues: Object.freeze({ mail: 3 }), channels: ['a'] };
    const app = await bootJobs({ options: Object.freeze(options) });
    options.channels.push('b');
    expect((await app.queues.get('mail')).capacity).toBe(3);
  });
});
