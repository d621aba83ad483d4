import { isFinal, JOB_STATUSES, type Job, type JobsService } from 'nestjs-jobs';
import { DigestHandler } from './files/digest.handler.js';

const TAG = 'first';

/** The digest that an earlier process has not finished, resumed if need be; else a new one. */
export async function firstDigest(jobs: JobsService, folder: string): Promise<Job> {
  const { jobs: open } = await jobs.list({
    type: 'files:digest',
    tag: TAG,
    status: JOB_STATUSES.filter((status) => !isFinal(status)),
  });
  const job = open.find(({ params }) => isOf(params, folder));
  if (job === undefined) return jobs.enqueue(DigestHandler, { folder }, { tags: [TAG] });
  return job.status === 'suspended' ? jobs.resume(job.id) : job;
}

function isOf(params: unknown, folder: string): boolean {
  return (
    typeof params === 'object' && params !== null && 'folder' in params && params.folder === folder
  );
}
