import { JobsError, type FieldError } from '../model/errors.js';
import type { Problem } from './schema-errors.js';

/**
 * One account of what the schema and the class found. At each field the class speaks, since its
 * messages may be the host's own; but of a missing field or a wrong type it complains once for each
 * decorator, and one line says it.
 */
export function mergedProblems(
  bySchema: readonly Problem[],
  byClass: readonly Problem[],
): FieldError[] {
  const fields = new Set([...bySchema, ...byClass].map(({ field }) => field));
  return [...fields].flatMap((field) => {
    const isHere = (problem: Problem) => problem.field === field;
    const isBelowWrongType = bySchema.some(
      ({ field: above, rule }) => rule === 'type' && field.startsWith(`${above}.`),
    );
    const hasDetail = bySchema.some((problem) => problem.field.startsWith(`${field}.`));
    const ofClass = byClass.filter(isHere).filter((problem) => !(hasDetail && isVague(problem)));
    return isBelowWrongType ? [] : atField(bySchema.filter(isHere), ofClass);
  });
}

/** Says of a whole what the schema says of the part that is wrong. */
function isVague({ rule, message }: Problem): boolean {
  return rule === 'unknownValue' || message.startsWith('each value in ');
}

/** The decorators that say in the host's words what a keyword found. */
const SAME_MISTAKE: Readonly<Record<string, readonly string[]>> = {
  required: ['isDefined', 'isNotEmpty'],
  type: ['isString', 'isNumber', 'isInt', 'isBoolean', 'isArray', 'isObject'],
  additionalProperties: [],
};

function atField(bySchema: readonly Problem[], byClass: readonly Problem[]): FieldError[] {
  const decisive = bySchema.find(({ rule }) => Object.hasOwn(SAME_MISTAKE, rule));
  if (decisive !== undefined) {
    const words = SAME_MISTAKE[decisive.rule] ?? [];
    return distinct([byClass.find(({ rule }) => words.includes(rule)) ?? decisive]);
  }
  // "must be a Date instance" helps nobody who writes JSON.
  const useful = byClass.filter(({ rule }) => !rule.endsWith('Date') || bySchema.length === 0);
  return distinct(useful.length > 0 ? useful : bySchema);
}

function distinct(problems: readonly Problem[]): FieldError[] {
  const messages = new Map(problems.map(({ field, message }) => [message, { field, message }]));
  return [...messages.values()];
}

const LISTED = 50;
const QUOTED = 3;

/** The 400 for params that were refused; reports of great length are cut and say so. */
export function invalidParams(
  typeId: string,
  problems: readonly FieldError[],
  cause?: unknown,
): JobsError {
  const quoted = problems.slice(0, QUOTED).map(({ field, message }) => `${field}: ${message}`);
  const more = problems.length > QUOTED ? `; and ${problems.length - QUOTED} more` : '';
  const rest = problems.length - LISTED;
  const errors =
    rest > 0
      ? [...problems.slice(0, LISTED), { field: 'params', message: `and ${rest} more mistakes` }]
      : problems;
  return new JobsError(
    'invalid_params',
    `The params of "${typeId}" were refused (${quoted.join('; ')}${more}). Correct them and try again.`,
    { errors, cause },
  );
}
