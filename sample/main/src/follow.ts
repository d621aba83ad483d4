import { concatMap, lastValueFrom } from 'rxjs';
import type { Job, JobLogLine, JobsService } from 'nestjs-jobs';
import { bar } from './bar.js';
import { printable } from './printable.js';

/** A place to write to: a terminal has a bar that moves, a pipe gets a line now and then. */
export type Output = Pick<NodeJS.WriteStream, 'isTTY' | 'write' | 'columns'>;

/** Shows a job's progress and log lines until it has ended. */
export async function follow(jobs: JobsService, id: string, output: Output): Promise<Job> {
  const view = bar(output);
  let after = 0;
  const showLines = async () => {
    const { lines, nextAfter } = await jobs.logs(id, { after });
    after = nextAfter;
    lines.forEach((line) => view.line(format(line)));
  };
  const shown$ = jobs.watch(id).pipe(
    concatMap(async (event) => {
      await showLines();
      view.update(event.status, event.progress);
    }),
  );
  await lastValueFrom(shown$);
  await showLines();
  const job = await jobs.get(id);
  const outcome = JSON.stringify(job.result ?? job.error ?? job.details);
  view.end(printable(`${job.type} ${job.status}: ${outcome}`));
  return job;
}

function format(line: JobLogLine): string {
  return `${line.at.toISOString().slice(11, 19)} ${line.level} ${printable(line.message)}`;
}
