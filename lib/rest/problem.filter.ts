import { Catch, Logger, type ArgumentsHost, type ExceptionFilter } from '@nestjs/common';
import { pathOf, rawResponse, sendJson, type HttpRequest, type HttpResponse } from './http.js';
import { plainLine, plainLines } from '../model/text.js';
import { problemOf } from './problem.js';

/** Answers whatever our routes, and the host's guards in front of them, throw. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  readonly #logger = new Logger('JobsApi');

  catch(thrown: unknown, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<HttpRequest>();
    const response = host.switchToHttp().getResponse<HttpResponse>();
    const { problem, retryAfterSec, log } = problemOf(thrown);
    const what = `${request.method} ${pathOf(request)}: ${problem.code}`;
    if (rawResponse(response).headersSent) {
      // An interceptor of the host failed over what it saw; the client has its answer.
      this.#logger.debug(`${what}, after the answer: ${plainLine(String(thrown))}`);
      return;
    }
    if (log) {
      const cause = thrown instanceof Error ? (thrown.stack ?? String(thrown)) : String(thrown);
      this.#logger.error(what, plainLines(cause));
    }
    if (retryAfterSec !== undefined) {
      response.header('Retry-After', String(Math.max(1, Math.ceil(retryAfterSec))));
    }
    response.status(problem.status);
    sendJson(response, 'application/problem+json', { ...problem, instance: pathOf(request) });
  }
}
