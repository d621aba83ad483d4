import { Inject, Injectable, type OnModuleInit } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { Ajv, ErrorObject, ValidateFunction } from 'ajv';
import type { FieldError } from '../model/errors.js';
import { isUuid } from '../model/id.js';
import { invalid } from './invalid.js';
import { STORABLE_TEXT, type JsonSchema, type ObjectSchema } from './schemas/schema.js';

const UNSTORABLE = /[\0\p{Surrogate}]/u;

/** One for all applications of the process, from the first that has an HTTP server. */
let compiler: Ajv | undefined;

/** Loads ajv before the application listens, so that no request waits for it, and only if it will. */
@Injectable()
export class ValidationLoader implements OnModuleInit {
  constructor(@Inject(HttpAdapterHost) private readonly adapterHost: HttpAdapterHost) {}

  async onModuleInit(): Promise<void> {
    // An application context has no HTTP server, and so none of our routes.
    const adapter: HttpAdapterHost['httpAdapter'] | undefined = this.adapterHost.httpAdapter;
    if (adapter !== undefined && adapter !== null) {
      compiler ??= await createCompiler();
    }
  }
}

async function createCompiler(): Promise<Ajv> {
  const { Ajv } = await import('ajv');
  const ajv = new Ajv({ allErrors: true, strict: false, ownProperties: true, verbose: true });
  ajv.addFormat('uuid', { type: 'string', validate: isUuid });
  ajv.addFormat(STORABLE_TEXT, { type: 'string', validate: (value) => !UNSTORABLE.test(value) });
  return ajv;
}

/** Compiled once a schema, for all applications of the process: schemas never change. */
const compiled = new WeakMap<ObjectSchema, ValidateFunction>();

/** So many errors are told; a client that makes more learns nothing from the rest. */
const TOLD = 20;
/** Our own objects have far fewer; ajv must not be made to write a novel. */
const MAX_FIELDS = 200;

/**
 * The value, once it is what the schema says.
 *
 * @param where prefixes nothing; it names the place in the sentence: `body` or `query`
 * @throws JobsError `invalid_request` with a path for each field that is wrong
 */
export function checked(schema: ObjectSchema, value: unknown, where: 'body' | 'query'): object {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(where, [{ field: where, message: `must be a JSON object` }]);
  }
  if (Object.keys(value).length > MAX_FIELDS) {
    throw invalid(where, [{ field: where, message: `has more than ${MAX_FIELDS} fields` }]);
  }
  const validate = compiled.get(schema) ?? compile(schema);
  if (!validate(value)) {
    throw invalid(
      where,
      told(validate.errors ?? [])
        .slice(0, TOLD)
        .map(fieldError),
    );
  }
  return value;
}

/**
 * Where several forms are taken, what each of them says helps nobody: only that none fits. An object is
 * meant as the form that is one, so what is wrong within it is told instead.
 */
function told(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const within = (error: ErrorObject): boolean =>
    error.schemaPath.includes('/anyOf/') &&
    (error.keyword === 'additionalProperties' ||
      errors.some(
        ({ keyword, instancePath }) =>
          keyword === 'anyOf' && error.instancePath.startsWith(`${instancePath}/`),
      ));
  const forms = errors.filter(within).map(({ instancePath }) => instancePath);
  return errors.filter((error) =>
    error.keyword === 'anyOf'
      ? !forms.some(
          (path) => path === error.instancePath || path.startsWith(`${error.instancePath}/`),
        )
      : !error.schemaPath.includes('/anyOf/') || within(error),
  );
}

function compile(schema: ObjectSchema): ValidateFunction {
  if (compiler === undefined) {
    throw new Error('A route ran before its application was ready.');
  }
  const validate = compiler.compile(schema);
  compiled.set(schema, validate);
  return validate;
}

function fieldError(error: ErrorObject): FieldError {
  const path = error.instancePath.split('/').slice(1).map(unescapePointer);
  const named = NAMED[error.keyword]?.(error.params);
  const field = [...path, ...(named === undefined ? [] : [named])].join('.');
  return { field: clip(field === '' ? 'body' : field), message: messageOf(error) };
}

/** Errors that are about a member of the object ajv points at. */
const NAMED: Readonly<Record<string, ((params: Record<string, unknown>) => string) | undefined>> = {
  required: (params) => String(params['missingProperty']),
  additionalProperties: (params) => String(params['additionalProperty']),
};

function messageOf(error: ErrorObject): string {
  switch (error.keyword) {
    case 'required':
      return 'is required';
    case 'additionalProperties':
      return 'is not known here';
    case 'anyOf':
      return `must be ${formsOf(error)}`;
    case 'enum':
      return `must be one of ${allowed(error.params)}`;
    case 'format':
      return error.params['format'] === STORABLE_TEXT
        ? 'must not contain NUL or half of a surrogate pair'
        : `must be a ${String(error.params['format'])}`;
    default:
      return error.message ?? 'is not valid';
  }
}

/** What may stand there, by the descriptions of its forms. */
function formsOf({ schema }: ErrorObject): string {
  const forms = (Array.isArray(schema) ? schema : []) as readonly JsonSchema[];
  return forms.map((form) => String(form['description'] ?? form['type'])).join(', or ');
}

function allowed(params: Record<string, unknown>): string {
  const values = params['allowedValues'];
  return Array.isArray(values) ? values.filter((value) => value !== null).join(', ') : '';
}

function unescapePointer(part: string): string {
  return part.replaceAll('~1', '/').replaceAll('~0', '~');
}

/** Names come from the client: short enough to read. */
function clip(field: string): string {
  return field.length > 128 ? `${field.slice(0, 127)}…` : field;
}

/**
 * A query's parameters, read as their schemas say: integers, numbers, lists separated by commas.
 *
 * @throws JobsError `invalid_request` that names the parameter
 */
export function checkedQuery(schema: ObjectSchema, query: unknown): object {
  const given = Object.entries(typeof query === 'object' && query !== null ? query : {});
  const read = Object.create(null) as Record<string, unknown>;
  for (const [name, value] of given) {
    const parameter = Object.hasOwn(schema.properties, name) ? schema.properties[name] : undefined;
    read[name] = parameter === undefined ? value : parameterOf(name, value, parameter);
  }
  return checked(schema, read, 'query');
}

function parameterOf(name: string, value: unknown, schema: JsonSchema): unknown {
  if (typeof value !== 'string') {
    throw invalid('query', [{ field: name, message: 'may be given once only' }]);
  }
  switch (schema['type']) {
    case 'integer':
      return /^-?\d{1,16}$/.test(value) ? Number(value) : value;
    case 'number':
      return /^-?\d{1,16}(\.\d{1,9})?$/.test(value) ? Number(value) : value;
    case 'array':
      return value.split(',');
    default:
      return value;
  }
}
