import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

export interface Server {
  readonly url: string;
  stop(): Promise<unknown>;
}

/** The database that DATABASE_URL names, or one that is started here as `npm test` does it. */
export async function postgres(): Promise<Server> {
  const url = process.env['DATABASE_URL'];
  if (url !== undefined) {
    return { url, stop: () => Promise.resolve() };
  }
  const root = path.dirname(createRequire(import.meta.url).resolve('nestjs-jobs/package.json'));
  const script = pathToFileURL(path.join(root, 'scripts/postgres.mjs')).href;
  const { startPostgres } = (await import(script)) as { startPostgres: () => Promise<Server> };
  return startPostgres();
}
