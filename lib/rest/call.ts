import { JobsError } from '../model/errors.js';
import { isUuid } from '../model/id.js';
import {
  clientGone,
  headerOf,
  isRepeated,
  pathOf,
  type HttpRequest,
  type HttpResponse,
} from './http.js';
import { callerOf, EVERYONE, type Caller } from './identity.js';
import type { Operation } from './operation.js';
import { invalid } from './invalid.js';
import { checked, checkedQuery } from './validation.js';
import type { ReasonBody } from './wire/requests.js';

/** A request that fits its route's description: what a route handler is given. */
export class Call<B = unknown, Q = unknown> {
  readonly caller: Caller;
  readonly body: B;
  readonly query: Q;
  readonly #request: HttpRequest;
  readonly #response: HttpResponse;

  /** @throws JobsError `invalid_request` for a body or a query that does not fit */
  constructor(operation: Operation, request: HttpRequest, response: HttpResponse) {
    this.#request = request;
    this.#response = response;
    this.caller = this.#caller(operation);
    // The schemas say what B and Q say; a route names both in one place.
    this.query = this.#query(operation) as Q;
    this.body = this.#body(operation) as B;
  }

  /** What confines a service call to the caller's tenant. */
  get scope(): { tenantId: string } {
    return { tenantId: this.caller.tenantId };
  }

  /** Who did it, for operations that ask for no reason. */
  acted(): { tenantId: string; actor?: string } {
    const { tenantId, userId } = this.caller;
    return { tenantId, ...(userId === null ? {} : { actor: userId }) };
  }

  /** Who did it and why, for operations. */
  reasoned(this: Call<ReasonBody>): { tenantId: string; reason?: string; actor?: string } {
    const { tenantId, userId } = this.caller;
    const { reason } = this.body;
    return {
      tenantId,
      ...(reason === undefined ? {} : { reason }),
      ...(userId === null ? {} : { actor: userId }),
    };
  }

  /** The job's id in the path. */
  get jobId(): string {
    const id = this.param('id');
    if (!isUuid(id)) {
      throw invalid('path', [{ field: 'id', message: 'must be a UUID' }]);
    }
    return id.toLowerCase();
  }

  /** A parameter of the path. */
  param(name: string): string {
    const params = this.#request.params as Readonly<Record<string, unknown>>;
    return String(params[name]);
  }

  header(name: string): string | undefined {
    return headerOf(this.#request, name);
  }

  /** A header of which there may be one. @throws JobsError `invalid_request` for more */
  singleHeader(name: string): string | undefined {
    if (isRepeated(this.#request, name.toLowerCase())) {
      throw invalid('header', [{ field: name, message: 'is there more than once: send one' }]);
    }
    return headerOf(this.#request, name.toLowerCase());
  }

  /** Fires when the client goes away before it is answered. */
  clientGone(): AbortSignal {
    return clientGone(this.#response);
  }

  /** The path of this request, for links to what is below it. */
  get path(): string {
    return pathOf(this.#request);
  }

  /** Answers with a status other than the usual one. */
  answer(status: number, headers: Readonly<Record<string, string>> = {}): void {
    this.#response.status(status);
    for (const [name, value] of Object.entries(headers)) {
      this.#response.header(name, value);
    }
  }

  /** @throws JobsError `forbidden` */
  requireOperator(what: string): void {
    if (!this.caller.isOperator) {
      throw new JobsError(
        'forbidden',
        `${what} is for operators: ask one, or let identify return operator: true.`,
      );
    }
  }

  #caller(operation: Operation): Caller {
    const caller = callerOf(this.#request);
    if (caller === undefined && operation.anonymous !== true) {
      throw new Error('A route ran without its IdentityGuard.');
    }
    return caller ?? { ...EVERYONE, isOperator: false };
  }

  #query(operation: Operation): unknown {
    const { query } = this.#request;
    if (operation.anyQuery === true) {
      refuseTenant(query);
      return {};
    }
    return checkedQuery(operation.query ?? NO_QUERY, query);
  }

  #body(operation: Operation): unknown {
    const { body } = this.#request;
    if (operation.body === undefined) {
      return undefined;
    }
    // An operation without a reason may come without a body; hosts' parsers leave it empty.
    const isAbsent = body === undefined || body === null || body === '';
    const isOptional = operation.body.required === undefined;
    const given = isAbsent && isOptional ? {} : body;
    return checked(operation.body, operation.reads?.(given) ?? given, 'body');
  }
}

const NO_QUERY = { type: 'object', properties: {}, additionalProperties: false } as const;

/** The tenant comes from `identify` alone. */
function refuseTenant(query: unknown): void {
  const names = typeof query === 'object' && query !== null ? Object.keys(query) : [];
  const found = names.find((name) => /^(tenant|user)_?id$/i.test(name));
  if (found !== undefined) {
    throw invalid('query', [{ field: found, message: 'is not known here' }]);
  }
}
