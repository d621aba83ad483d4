import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { until } from './waiting.js';

/** A request that a receiver of webhooks has got. */
export interface ReceivedHook {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  readonly event: HookBody;
  readonly at: number;
}

export interface HookBody {
  readonly type: string;
  readonly timestamp: string;
  readonly data: {
    readonly job: Readonly<Record<string, unknown>> & { readonly id: string };
    readonly revision: number;
    readonly sequence: number;
    readonly from: string;
    readonly to: string;
    readonly message?: string;
  };
}

type Answer = (hook: ReceivedHook, nth: number, response: ServerResponse) => number | undefined;

/** What options a test needs to send to its own machine. */
export const LOOPBACK = { allowHttp: true, allowAddresses: ['127.0.0.1'] };

/** A receiver on the loopback. `answer` gives a status, or answers by itself and gives nothing. */
export class Receiver {
  readonly hooks: ReceivedHook[] = [];
  url = '';

  constructor(private readonly answer: Answer) {}

  static async open(answer: Answer = () => 204): Promise<Receiver> {
    const receiver = new Receiver(answer);
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const body = Buffer.concat(chunks).toString('utf8');
        const hook = {
          path: request.url ?? '',
          headers: request.headers,
          body,
          event: JSON.parse(body) as HookBody,
          at: performance.now(),
        };
        receiver.hooks.push(hook);
        const status = receiver.answer(hook, receiver.hooks.length, response);
        if (status !== undefined) {
          response.writeHead(status).end(`said ${status}`);
        }
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`;
    return receiver;
  }

  /** What came about one job, in the order in which it came. */
  of(jobId: string): readonly ReceivedHook[] {
    return this.hooks.filter(({ event }) => event.data.job?.id === jobId);
  }

  /** Waits until so many came. */
  async received(count: number, deadlineMs = 30_000): Promise<readonly ReceivedHook[]> {
    await until(() => this.hooks.length >= count, `${count} webhooks`, deadlineMs);
    return this.hooks;
  }

  /** Waits until one of that type came about the job. */
  async told(jobId: string, type: string, deadlineMs = 30_000): Promise<ReceivedHook> {
    const found = (): ReceivedHook | undefined =>
      this.of(jobId).find(({ event }) => event.type === type);
    return until(found, `${type} of ${jobId}`, deadlineMs);
  }
}
