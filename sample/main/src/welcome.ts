import path from 'node:path';
import type { Job } from 'nestjs-jobs';
import { settings } from './settings.js';

/** Says where it listens, and what to try. */
export function welcome(url: string, digest: Job): void {
  const download = {
    url: `${url}/docs-json`,
    path: path.join(settings.dataFolder, 'openapi.json'),
  };
  const job = JSON.stringify({ type: 'downloads:fetch', params: download });
  console.log(`
Listening on ${url} (documentation: ${url}/docs), jobs in ${settings.database}

Try, in another terminal:
  curl '${url}/jobs?limit=5'
  curl ${url}/jobs -H 'content-type: application/json' -d '${job}'
  curl -N ${url}/jobs/${digest.id}/events
`);
}
