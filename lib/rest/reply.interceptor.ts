import {
  Inject,
  Injectable,
  type CallHandler,
  type ExecutionContext,
  type NestInterceptor,
} from '@nestjs/common';
import { map, type Observable } from 'rxjs';
import { EventStream, EventStreams } from './event-stream.js';
import { rawResponse, sendJson, type HttpRequest, type HttpResponse } from './http.js';

/**
 * Sends what a route returned. It stands behind the host's global interceptors and before those of
 * the option `api`: an application that wraps every answer in `{ data }` leaves ours as documented,
 * and a global cache keyed by URL has nothing to show one tenant of another's.
 */
@Injectable()
export class ReplyInterceptor implements NestInterceptor {
  constructor(@Inject(EventStreams) private readonly streams: EventStreams) {}

  intercept(context: ExecutionContext, next: CallHandler<unknown>): Observable<undefined> {
    const request = context.switchToHttp().getRequest<HttpRequest>();
    const response = context.switchToHttp().getResponse<HttpResponse>();
    return next.handle().pipe(
      map((answer) => {
        this.#reply(answer, request, response);
        return undefined;
      }),
    );
  }

  #reply(answer: unknown, request: HttpRequest, response: HttpResponse): void {
    if (rawResponse(response).headersSent) {
      return;
    }
    if (answer instanceof EventStream) {
      this.streams.open(answer, response, request.method);
    } else if (answer === undefined) {
      response.send();
    } else {
      sendJson(response, 'application/json', answer);
    }
  }
}
