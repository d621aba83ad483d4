import type { ComponentName, JsonSchema, ObjectSchema } from './schemas/schema.js';

/** One answer that is not a problem. */
export interface Answer {
  readonly description: string;
  /** Undefined when there is no body. */
  readonly schema?: JsonSchema;
  readonly mediaType?: string;
  readonly headers?: Readonly<Record<string, JsonSchema>>;
}

/** All there is to know of a route besides its method and path: it is checked and documented by it. */
export interface Operation {
  /** `operationId` of the OpenAPI document. */
  readonly id: string;
  readonly summary: string;
  readonly description?: string;
  /** Parameters of the path. */
  readonly params?: Readonly<Record<string, JsonSchema>>;
  readonly body?: ObjectSchema;
  /** What the body is read as before it is checked. */
  readonly reads?: (body: unknown) => unknown;
  readonly query?: ObjectSchema;
  /** Request headers that are read. */
  readonly headers?: Readonly<Record<string, JsonSchema>>;
  /** By status, the usual one first. */
  readonly answers: readonly (readonly [status: number, answer: Answer])[];
  /** Statuses of problems besides 400, 401, 403 and 500, which any route may answer. */
  readonly errors?: readonly number[];
  /** Needs no identity: nothing of a tenant is shown. */
  readonly anonymous?: boolean;
  /** Takes query parameters it does not know, such as a token for the host's guard. */
  readonly anyQuery?: boolean;
}

const OPERATION = Symbol.for('nestjs-jobs:operation');

/** Says what a route takes and answers. */
export function Describe(operation: Operation): MethodDecorator {
  return (_target, _key, descriptor) => {
    if (typeof descriptor.value === 'function') {
      Object.defineProperty(descriptor.value, OPERATION, { value: operation });
    }
  };
}

/** What {@link Describe} said of a route handler. */
export function operationOf(handler: unknown): Operation | undefined {
  if (typeof handler !== 'function' || !Object.hasOwn(handler, OPERATION)) {
    return undefined;
  }
  return (handler as { [OPERATION]?: Operation })[OPERATION];
}

/** An answer whose body is a component of the document. */
export function component(name: ComponentName, description: string): Answer {
  return { description, schema: { $ref: `#/components/schemas/${name}` } };
}
