import {
  Inject,
  Injectable,
  Logger,
  type CanActivate,
  type ExecutionContext,
} from '@nestjs/common';
import type { ResolvedOptions } from '../jobs.options.js';
import { JOBS_OPTIONS } from '../jobs.tokens.js';
import { JobsError } from '../model/errors.js';
import type { HttpRequest } from './http.js';
import { EVERYONE, remember, toCaller, type Caller } from './identity.js';
import { operationOf } from './operation.js';

/** Asks the host who is calling, once its own guards have let the request through. */
@Injectable()
export class IdentityGuard implements CanActivate {
  readonly #logger = new Logger('JobsApi');

  constructor(@Inject(JOBS_OPTIONS) private readonly options: Pick<ResolvedOptions, 'identify'>) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    if (operationOf(context.getHandler())?.anonymous !== true) {
      const request = context.switchToHttp().getRequest<HttpRequest>();
      remember(request, await this.#identify(request));
    }
    return true;
  }

  async #identify(request: HttpRequest): Promise<Caller> {
    const { identify } = this.options;
    if (identify === undefined) {
      return EVERYONE;
    }
    const caller = toCaller(await this.#ask(identify, request));
    if (caller === undefined) {
      throw new TypeError(
        'identify gave no identity: return { tenantId, userId?, operator? }, tenantId and userId being ' +
          'texts of 1 to 64 characters (userId may be null), or throw for a request without one.',
      );
    }
    return caller;
  }

  async #ask(identify: Identify, request: HttpRequest): Promise<unknown> {
    try {
      // The host knows which framework's request it asked for.
      return await identify(request as never);
    } catch (cause) {
      this.#logger.debug(`identify refused a request: ${String(cause)}`);
      throw new JobsError(
        'unauthorized',
        'It is not known who makes this request. Sign in, or send the credentials that this server asks for.',
        { cause },
      );
    }
  }
}

type Identify = NonNullable<ResolvedOptions['identify']>;
