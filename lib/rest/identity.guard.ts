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
import { EVERYONE, remember, toCaller, Unidentified, type Caller } from './identity.js';
import { plainLine } from '../model/text.js';
import { operationOf } from './operation.js';

const AGAIN_MS = 60_000;

/** Asks the host who is calling, once its own guards have let the request through. */
@Injectable()
export class IdentityGuard implements CanActivate {
  readonly #logger = new Logger('JobsApi');
  /** When what was wrong with an identity was said last. */
  readonly #saidAt = new Map<string, number>();

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
    if (typeof caller === 'string') {
      this.#complain(caller);
      throw new Unidentified(`identify gave ${caller}.`);
    }
    return caller;
  }

  /** Each request would say the same. */
  #complain(given: string): void {
    const now = performance.now();
    if (now - (this.#saidAt.get(given) ?? -Infinity) >= AGAIN_MS) {
      this.#saidAt.set(given, now);
      this.#logger.error(
        `identify gave ${given}, which is no identity, so requests are answered with 500. Let it return { tenantId, userId?, operator? }, tenantId and userId being texts of 1 to 64 characters (userId may be null), operator true or false; or throw for a request without one. This is said once a minute at most.`,
      );
    }
  }

  async #ask(identify: Identify, request: HttpRequest): Promise<unknown> {
    try {
      // The host knows which framework's request it asked for.
      return await identify(request as never);
    } catch (cause) {
      this.#logger.debug(`identify refused a request: ${plainLine(String(cause))}`);
      throw new JobsError(
        'unauthorized',
        'It is not known who makes this request. Sign in, or send the credentials that this server asks for.',
        { cause },
      );
    }
  }
}

type Identify = NonNullable<ResolvedOptions['identify']>;
