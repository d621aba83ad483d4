import { JobsError, type FieldError } from '../model/errors.js';

/** A request that is refused at the edge; its fields have the names that the client gave. */
export class InvalidRequest extends JobsError {}

/**
 * The 400 of a request, with what is wrong field by field.
 *
 * @param where what is wrong: the body, the query, the path, a header
 */
export function invalid(where: string, errors: readonly FieldError[]): InvalidRequest {
  const [first] = errors;
  const more = errors.length > 1 ? ` (and ${errors.length - 1} more)` : '';
  const what = first === undefined ? '' : `: ${first.field} ${first.message}${more}`;
  const sentence = `The ${where} is not valid${what}. Nothing was changed.`;
  return new InvalidRequest('invalid_request', sentence, { errors });
}
