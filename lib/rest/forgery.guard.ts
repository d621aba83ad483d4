import type { CanActivate, ExecutionContext } from '@nestjs/common';
import { JobsError } from '../model/errors.js';
import { headerOf, type HttpRequest } from './http.js';
import { invalid } from './invalid.js';

const JSON_TYPE = /^application\/(?:[\w.+-]+\+)?json\s*(?:;|$)/i;

/**
 * Keeps foreign web pages from using a signed-in browser. What a page of another site sends as JSON,
 * or by a method other than POST, leaves the browser only after the host's CORS rules allowed it; what
 * is sent without asking (forms, plain text, an empty POST) changes nothing unless it is of the same site.
 * A body of another kind is refused whoever sends it.
 */
export class ForgeryGuard implements CanActivate {
  canActivate(context: ExecutionContext): boolean {
    const request = context.switchToHttp().getRequest<HttpRequest>();
    const type = headerOf(request, 'content-type');
    const hasBody = request.method === 'POST' || request.method === 'PATCH';
    if (!hasBody || (type !== undefined && JSON_TYPE.test(type))) {
      return true;
    }
    if (type !== undefined || isSent(request)) {
      // Hosts' parsers leave such a body alone: it would be as if nothing had been asked.
      throw invalid('request', [{ field: 'Content-Type', message: 'must be application/json' }]);
    }
    if (request.method === 'POST' && isFromElsewhere(request)) {
      throw new JobsError(
        'forbidden',
        'A browser sent this from a page of another site. Send it with Content-Type: application/json, so that the CORS rules of this server decide.',
      );
    }
    return true;
  }
}

/** Whether a body comes with the request. */
function isSent(request: HttpRequest): boolean {
  const length = headerOf(request, 'content-length') ?? '0';
  return length !== '0' || headerOf(request, 'transfer-encoding') !== undefined;
}

function isFromElsewhere(request: HttpRequest): boolean {
  const site = headerOf(request, 'sec-fetch-site');
  if (site !== undefined) {
    return site !== 'same-origin' && site !== 'none';
  }
  // Browsers leave that header out on plain http; programs send neither.
  const origin = headerOf(request, 'origin');
  return origin !== undefined && hostOf(origin) !== headerOf(request, 'host');
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
