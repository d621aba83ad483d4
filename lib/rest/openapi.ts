import type { Provider, Type } from '@nestjs/common';
import type { ApiOptions } from '../jobs.options.js';
import { operationsOf, type Routes } from './controller-class.js';
import type { Answer, Operation } from './operation.js';
import { COMPONENTS } from './schemas/answers.js';
import type { ComponentName, JsonSchema } from './schemas/schema.js';

/** A controller of one application, as the document shows it. */
export interface DocumentedController {
  readonly type: Type;
  readonly routes: Routes;
  readonly tag: string;
  /** The same routes under another path: they work, and are not shown twice. */
  readonly isAlias: boolean;
}

/**
 * Describes the controllers to @nestjs/swagger when the host has it. It is a provider because an
 * application is asked for its document as soon as `NestFactory.create` is done, which awaits
 * providers and nothing else; and it loads the package there because it is an optional one.
 */
export function documentControllers(
  controllers: readonly DocumentedController[],
  api: ApiOptions,
): Provider {
  return {
    provide: Symbol.for('nestjs-jobs:openapi'),
    useFactory: async (): Promise<boolean> => {
      const swagger = await loadSwagger();
      if (swagger !== undefined) {
        const document = new Describer(swagger, api);
        controllers.forEach((controller) => document.describe(controller));
      }
      return swagger !== undefined;
    },
  };
}

type Decorate = (target: object, key?: string, descriptor?: PropertyDescriptor) => unknown;

/** The decorators that are used, which take more than their types say. */
type Swagger = Readonly<Record<(typeof DECORATORS)[number], (options: unknown) => Decorate>>;

const DECORATORS = [
  'ApiBody',
  'ApiExcludeController',
  'ApiExtraModels',
  'ApiHeader',
  'ApiOperation',
  'ApiParam',
  'ApiQuery',
  'ApiResponse',
  'ApiSchema',
  'ApiTags',
] as const;

async function loadSwagger(): Promise<Swagger | undefined> {
  try {
    const loaded: unknown = await import('@nestjs/swagger');
    return isSwagger(loaded) ? loaded : undefined;
  } catch {
    return undefined;
  }
}

function isSwagger(loaded: unknown): loaded is Swagger {
  return (
    typeof loaded === 'object' && loaded !== null && DECORATORS.every((name) => name in loaded)
  );
}

/** Statuses that a guard, `identify` or a mistake of ours can give on any route. */
const COMMON_ERRORS = [400, 401, 403, 500];

const PROBLEMS: Readonly<Record<number, string>> = {
  400: 'The request is not valid',
  401: 'Who is asking is not known',
  403: 'Not allowed',
  404: 'There is no such thing, or not for this tenant',
  409: 'Not possible as things are',
  413: 'Too large',
  423: 'Not now; try again after Retry-After',
  500: 'Something went wrong inside the server',
  503: 'The database is busy or cannot be reached; try again after Retry-After',
};

const RETRY_AFTER = { 'Retry-After': { schema: { type: 'integer' }, description: 'seconds' } };

class Describer {
  readonly #swagger: Swagger;
  readonly #hasOneVersion: boolean;
  readonly #models = new Map<string, Type>();

  constructor(swagger: Swagger, api: ApiOptions) {
    this.#swagger = swagger;
    this.#hasOneVersion = !Array.isArray(api.version) || api.version.length < 2;
  }

  describe({ type, routes, tag, isAlias }: DocumentedController): void {
    if (isAlias) {
      this.#swagger.ApiExcludeController(true)(type);
      return;
    }
    this.#swagger.ApiTags(tag)(type);
    for (const [name, operation] of operationsOf(routes)) {
      const descriptor = Object.getOwnPropertyDescriptor(type.prototype, name);
      for (const decorate of this.#decorators(operation)) {
        decorate(type.prototype as object, name, descriptor);
      }
    }
  }

  #decorators(operation: Operation): Decorate[] {
    const { ApiBody, ApiExtraModels, ApiHeader, ApiOperation, ApiParam, ApiQuery, ApiResponse } =
      this.#swagger;
    const { id, summary, description, body, query, headers = {} } = operation;
    // With several versions of a route, only swagger's own ids tell them apart.
    const operationId = this.#hasOneVersion ? id : undefined;
    return [
      ApiOperation({ operationId, summary, description }),
      ...Object.entries(operation.params ?? {}).map(([name, schema]) => ApiParam({ name, schema })),
      ...Object.entries(query?.properties ?? {}).map(([name, schema]) =>
        ApiQuery({
          ...parameter(name, schema),
          explode: schema['type'] === 'array' ? false : undefined,
        }),
      ),
      ...Object.entries(headers).map(([name, schema]) => ApiHeader(parameter(name, schema))),
      ...(body === undefined
        ? []
        : [ApiBody({ schema: copy(body), required: body.required !== undefined })]),
      ...operation.answers.map(([status, answer]) => ApiResponse(response(status, answer))),
      ...problems(operation).map((status) => ApiResponse(problem(status))),
      ...this.#modelsOf(operation).map((model) => ApiExtraModels(model)),
    ];
  }

  /** Classes that stand for the components an operation refers to, directly or not. */
  #modelsOf(operation: Operation): Type[] {
    const names = new Set<ComponentName>(['JobProblem']);
    operation.answers.forEach(([, { schema = {} }]) => collectRefs(schema, names));
    return [...names].map((name) => this.#model(name));
  }

  #model(name: ComponentName): Type {
    const known = this.#models.get(name);
    if (known !== undefined) {
      return known;
    }
    const model = { [name]: class {} }[name] as Type;
    // Swagger lays what it is given here over the schema it makes of the class, which is empty.
    this.#swagger.ApiSchema({ name, ...copy(COMPONENTS[name]) })(model);
    this.#models.set(name, model);
    return model;
  }
}

function problems({ errors = [] }: Operation): number[] {
  return [...new Set([...COMMON_ERRORS, ...errors])].toSorted((a, b) => a - b);
}

function response(status: number, answer: Answer): object {
  const { description, schema, mediaType = 'application/json', headers = {} } = answer;
  return {
    status,
    description,
    ...(schema === undefined ? {} : { content: { [mediaType]: { schema: copy(schema) } } }),
    headers: Object.fromEntries(
      Object.entries(headers).map(([name, each]) => [name, headerOf(each)]),
    ),
  };
}

function headerOf({ description, ...schema }: JsonSchema): object {
  return { description, schema };
}

function problem(status: number): object {
  const schema = { $ref: '#/components/schemas/JobProblem' };
  return {
    status,
    description: PROBLEMS[status],
    content: { 'application/problem+json': { schema } },
    headers: status === 423 || status === 503 ? RETRY_AFTER : undefined,
  };
}

function parameter(name: string, { description, ...schema }: JsonSchema): object {
  return { name, required: false, description, schema: copy(schema) };
}

/** Adds the names of the components that a schema refers to, and those that they refer to. */
function collectRefs(schema: unknown, names: Set<ComponentName>): void {
  for (const [, name = ''] of JSON.stringify(schema).matchAll(/"#\/components\/schemas\/(\w+)"/g)) {
    if (isComponent(name) && !names.has(name)) {
      names.add(name);
      collectRefs(COMPONENTS[name], names);
    }
  }
}

function isComponent(name: string): name is ComponentName {
  return Object.hasOwn(COMPONENTS, name);
}

/** Swagger may change what it is given, and these schemas also check requests. */
function copy(schema: JsonSchema): JsonSchema {
  return structuredClone(schema);
}
