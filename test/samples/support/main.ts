import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { Rest } from './rest.js';
import { start, untilTestEnds, type Running } from './sample.js';

/** The main sample, at work. */
export interface MainSample {
  readonly running: Running;
  readonly rest: Rest;
  /** The id of the digest that it shows. */
  readonly firstId: string;
}

/** Starts the main sample on a folder for its data; what it digests first is empty if not given. */
export async function startMain(main: string, data: string, digests?: string): Promise<MainSample> {
  const nothing = path.join(data, 'nothing');
  mkdirSync(nothing, { recursive: true });
  const running = untilTestEnds(
    start(main, {
      PORT: '0',
      JOBS_DB: path.join(data, 'jobs.sqlite'),
      JOBS_FOLDER: digests ?? nothing,
    }),
  );
  const [, url = ''] = /(http:\S+)/.exec(await running.line(/^Listening on http/)) ?? [];
  const [, firstId = ''] = /jobs\/(\S+)\/events/.exec(await running.line(/\/events/)) ?? [];
  return { running, rest: new Rest(url), firstId };
}
