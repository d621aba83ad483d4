import { describe, expect, it } from 'vitest';
import { JobsError } from '../../lib/model/errors.js';
import { newId } from '../../lib/model/id.js';
import { deferred } from '../support/gate.js';
import { SERVERS } from '../support/http.js';
import { until } from '../support/waiting.js';
import { aJob, openFakes, type Fakes } from './fakes.js';

const ID = newId();

/** A job that nobody ever ends; `asked` resolves with the signal of the one who waits. */
function endless() {
  const asked = deferred<AbortSignal>();
  const fakes: Fakes = {
    jobs: {
      get: async () => aJob({ id: ID, status: 'running' }),
      wait: (_id, options) =>
        new Promise((_resolve, reject) => {
          const { signal } = options ?? {};
          signal?.addEventListener('abort', () => reject(signal.reason as Error));
          if (signal !== undefined) asked.resolve(signal);
        }),
    },
  };
  return { fakes, asked: asked.promise };
}

describe.each(SERVERS)('waiting on %s', (server) => {
  it('answers 202 with the job as it is when the time is over', async () => {
    const fakes: Fakes = {
      jobs: {
        get: async () => aJob({ id: ID, status: 'running' }),
        wait: () => Promise.reject(new JobsError('not_finished', 'Not yet.')),
      },
    };
    const host = await openFakes({ server, fakes });
    expect(await host.get(`/jobs/${ID}/wait?timeout_sec=0`)).toMatchObject({
      status: 202,
      body: { id: ID, status: 'running' },
    });
  });

  it('stops when the client leaves, without a word in the log', async () => {
    const { fakes, asked } = endless();
    const host = await openFakes({ server, fakes });
    const waiting = host.begin('GET', `/jobs/${ID}/wait?timeout_sec=60`);
    const signal = await asked;
    waiting.destroy();
    await until(() => signal.aborted, 'the signal');
    // An answer to another client comes after whatever was still to happen for the first.
    await host.get(`/jobs/${ID}`);
    expect(host.log.texts('error')).toEqual([]);
  });

  it('does not hold up the end of the application', async () => {
    const { fakes, asked } = endless();
    const host = await openFakes({ server, fakes });
    const waiting = host.get(`/jobs/${ID}/wait?timeout_sec=60`);
    await asked;
    await host.app.close();
    expect(await waiting).toMatchObject({ status: 202, body: { id: ID } });
  });
});
