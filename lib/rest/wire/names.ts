import type { FieldError, JobsError } from '../../model/errors.js';

/** Options that are durations: milliseconds in code, seconds on the wire. */
const DURATIONS: ReadonlySet<string> = new Set([
  'delay',
  'timeout',
  'retryDelay',
  'every',
  'after',
  'within',
]);

/** What is below these has names of ours as well; below `params`, `state`, `meta` they are the client's own. */
const OURS = /^(options|unique|dependsOn|\d+)$/;

/** Errors name options as code does; this is what a client has written, in the sentence too. */
export function onTheWire(error: JobsError, fields: readonly FieldError[]) {
  let detail = error.message;
  const errors = fields.map(({ field, message }) => {
    const { flow, job, path } = partsOf(field, error.members['key']);
    const wire = wirePath(path);
    // A sentence begins with the field that it is about, behind the job of several that it is in.
    const before = [`${job}.${path} `, `${job}: ${path} `, `${path} `].find((each) =>
      detail.startsWith(each),
    );
    if (before !== undefined) {
      detail = `${before.slice(0, -path.length - 1)}${wire}${detail.slice(before.length - 1)}`;
    }
    return { field: `${flow}${job === '' ? '' : `${job}.`}${wire}`, message };
  });
  return { detail, errors };
}

/** A field of one job of several has its index in front or, in a flow, its key, which a body has below `jobs`. */
function partsOf(field: string, key: unknown) {
  if (typeof key === 'string' && field.startsWith(`${key}.`)) {
    return { flow: 'jobs.', job: key, path: field.slice(key.length + 1) };
  }
  const job = /^jobs\.\d+(?=\.)/.exec(field)?.[0] ?? '';
  return { flow: '', job, path: job === '' ? field : field.slice(job.length + 1) };
}

function wirePath(path: string): string {
  const [name = '', ...below] = path.split('.');
  const rest = below.join('.');
  const own = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  return [
    `${own}${DURATIONS.has(name) ? '_sec' : ''}`,
    ...(rest === '' ? [] : [OURS.test(name) ? wirePath(rest) : rest]),
  ].join('.');
}
