import type { ErrorObject } from 'ajv';
import type { FieldError } from '../model/errors.js';
import { fieldPath } from '../model/json-plain.js';

/** A field error, and the keyword or decorator that found it. */
export interface Problem extends FieldError {
  readonly rule: string;
}

/** ajv's errors as a reader wants them: one line a mistake, at the field it was made in. */
export function explain(errors: readonly ErrorObject[], what: string): Problem[] {
  const news = errors.filter((error) => !isNoise(error));
  const problems = news.map((error) => toProblem(error, what));
  // Of several branches the one that went furthest is the one that was meant.
  const isExplained = ({ field, rule }: Problem, at: number) =>
    (rule === 'anyOf' || (rule === 'type' && news[at]?.schemaPath.includes('/anyOf/'))) &&
    problems.some(
      (other) =>
        other.field.startsWith(`${field}.`) ||
        (other.field === field && rule === 'anyOf' && other.rule !== 'anyOf'),
    );
  return joinFormats(problems.filter((problem, at) => !isExplained(problem, at)));
}

/** The null branch of an optional field, and the frame around the branch that has its own error. */
function isNoise({ keyword, params }: ErrorObject): boolean {
  return keyword === 'if' || (keyword === 'type' && params['type'] === 'null');
}

function toProblem(error: ErrorObject, what: string): Problem {
  const segments = error.instancePath.split('/').slice(1).map(unescaped);
  const { missingProperty, additionalProperty } = error.params;
  const member: unknown = missingProperty ?? additionalProperty;
  const names = typeof member === 'string' ? [...segments, member] : segments;
  return { field: fieldPath([what, ...names]), message: messageOf(error), rule: error.keyword };
}

function messageOf({ keyword, params, message }: ErrorObject): string {
  switch (keyword) {
    case 'required':
      return 'is required';
    case 'additionalProperties':
      return 'is not a known field';
    case 'type':
      return `must be ${typeNames(params['type'])}`;
    case 'enum':
      return `must be one of ${listed(params['allowedValues'])}`;
    case 'const':
      return `must be ${JSON.stringify(params['allowedValue'])}`;
    case 'format':
      return `must be a valid ${String(params['format'])}`;
    case 'not':
      return 'has a value that is not allowed';
    default:
      return message ?? `breaks the rule "${keyword}"`;
  }
}

const TYPES: Readonly<Record<string, string>> = {
  string: 'a string',
  integer: 'an integer',
  number: 'a number',
  boolean: 'a boolean',
  object: 'an object',
  array: 'an array',
};

function typeNames(type: unknown): string {
  return [type]
    .flat()
    .map((name) => TYPES[String(name)] ?? String(name))
    .join(' or ');
}

function listed(values: unknown): string {
  const texts = Array.isArray(values) ? values.map((value) => JSON.stringify(value)) : [];
  return texts.length > 20 ? `${texts.slice(0, 20).join(', ')}, …` : texts.join(', ');
}

/** A date may be a `date` or a `date-time`: one line for both. */
function joinFormats(problems: readonly Problem[]): Problem[] {
  const joined: Problem[] = [];
  for (const problem of problems) {
    const at = joined.findIndex(
      ({ field, rule }) =>
        rule === 'format' && problem.rule === 'format' && field === problem.field,
    );
    const earlier = joined[at];
    if (earlier === undefined) {
      joined.push(problem);
    } else {
      const format = problem.message.replace('must be a valid ', '');
      joined[at] = { ...earlier, message: `${earlier.message} or ${format}` };
    }
  }
  return joined;
}

function unescaped(segment: string): string {
  return segment.replaceAll('~1', '/').replaceAll('~0', '~');
}
