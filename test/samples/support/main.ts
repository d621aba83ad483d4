import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, onTestFinished } from 'vitest';
import { temporaryFolder } from './folder.js';
import { Rest } from './rest.js';
import { start, type Running } from './sample.js';

/** The main sample, at work. */
export interface MainSample {
  readonly running: Running;
  readonly rest: Rest;
  /** The folder of its database. */
  readonly data: string;
  /** The id of the digest that it shows. */
  readonly firstId: string;
}

/**
 * Starts the main sample on a folder for its data, until the test ends; what it digests first is
 * empty if not given.
 */
export async function startMain(main: string, data: string, digests?: string): Promise<MainSample> {
  const sample = launch(main, data, digests);
  onTestFinished(() => sample.running.end('SIGKILL'));
  return sample.ready();
}

/** One main sample for the tests of a file; to be called outside of them. */
export function sharedMain(main: string): () => MainSample {
  const launched = launch(main, temporaryFolder(afterAll));
  let sample: MainSample | undefined;
  beforeAll(async () => {
    sample = await launched.ready();
  }, 30_000);
  afterAll(() => launched.running.end('SIGKILL'));
  return () => {
    if (sample === undefined) throw new Error('the sample is at hand only within a test');
    return sample;
  };
}

function launch(main: string, data: string, digests?: string) {
  const nothing = path.join(data, 'nothing');
  mkdirSync(nothing, { recursive: true });
  const running = start(main, {
    PORT: '0',
    JOBS_DB: path.join(data, 'jobs.sqlite'),
    JOBS_FOLDER: digests ?? nothing,
  });
  const ready = async (): Promise<MainSample> => {
    const [, url = ''] = /(http:\S+)/.exec(await running.line(/^Listening on http/)) ?? [];
    const [, firstId = ''] = /jobs\/(\S+)\/events/.exec(await running.line(/\/events/)) ?? [];
    return { running, rest: new Rest(url), firstId, data };
  };
  return { running, ready };
}
