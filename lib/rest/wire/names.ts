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
  const { key } = error.members;
  let detail = error.message;
  const errors = fields.map(({ field, message }) => {
    const [place, path] = placeAndPath(field, typeof key === 'string' ? key : undefined);
    const wire = wirePath(path);
    // A sentence begins with the field that it is about, behind the job of several that it is in.
    const before = [`${place}${path} `, `${place.slice(0, -1)}: ${path} `, `${path} `].find(
      (each) => detail.startsWith(each),
    );
    if (before !== undefined) {
      detail = `${before.slice(0, -path.length - 1)}${wire}${detail.slice(before.length - 1)}`;
    }
    return { field: `${place}${wire}`, message };
  });
  return { detail, errors };
}

/** A path below one job of several, which is named by its index or, in a flow, by its key. */
function placeAndPath(field: string, key: string | undefined): [place: string, path: string] {
  const place =
    key !== undefined && field.startsWith(`${key}.`)
      ? `${key}.`
      : (/^jobs\.\d+\./.exec(field)?.[0] ?? '');
  return [place, field.slice(place.length)];
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
