import { Catch, Logger, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { pathOf, rawResponse, sendJson, type HttpRequest, type HttpResponse } from './http.js';
import { problemOf } from './problem.js';

/** Answers whatever our routes, and the host's guards in front of them, throw. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  readonly #logger = new Logger('JobsApi');

  catch(thrown: unknown, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<HttpRequest>();
    const response = host.switchToHttp().getResponse<HttpResponse>();
    const { problem, retryAfterSec, log } = problemOf(thrown);
    if (log) {
      this.#logger.error(
        `${request.method} ${pathOf(request)}: ${problem.code}`,
        thrown instanceof Error ? thrown.stack : String(thrown),
      );
    }
    if (rawResponse(response).headersSent) {
      return;
    }
    if (retryAfterSec !== undefined) {
      response.header('Retry-After', String(Math.max(1, Math.ceil(retryAfterSec))));
    }
    response.status(problem.status);
    sendJson(response, 'application/problem+json', { ...problem, instance: pathOf(request) });
  }
}
