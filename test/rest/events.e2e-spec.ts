import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { EMPTY, NEVER, Observable, of, Subject, throwError } from 'rxjs';
import fc from 'fast-check';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { newId } from '../../lib/model/id.js';
import type { JobEvent } from '../../lib/model/job.js';
import { encode } from '../../lib/rest/event-stream.js';
import type { JobsService } from '../../lib/services/jobs.service.js';
import { EventReader, SERVERS } from '../support/http.js';
import { until, within } from '../support/waiting.js';
import { aJob, openFakes, WRAPPING, type Fakes } from './fakes.js';

const ID = newId();

type WatchOptions = NonNullable<Parameters<JobsService['watch']>[1]>;

function event(sequence: number, over: Partial<JobEvent> = {}): JobEvent {
  const at = new Date(1_800_000_000_000);
  return {
    sequence,
    type: 'status',
    jobId: ID,
    runId: null,
    at,
    status: 'running',
    progress: 0,
    ...over,
  };
}

function watching(events$: Observable<JobEvent>, job = aJob({ id: ID })) {
  const asked: unknown[] = [];
  const fakes: Fakes = {
    jobs: {
      get: async () => job,
      watch: (...args) => {
        asked.push(args);
        return events$;
      },
    },
  };
  return { fakes, asked };
}

afterEach(() => {
  vi.useRealTimers();
});

describe.each(SERVERS)('event streams on %s', (server) => {
  it('sends id, event and data of each event, and ends with the job', async () => {
    const { fakes, asked } = watching(
      of(
        event(1, { status: 'waiting' }),
        event(2, { from: 'waiting', runId: ID }),
        event(2, { type: 'progress', progress: 0.5, message: 'half\nway', runId: ID }),
        event(3, { status: 'completed', from: 'running', progress: 1 }),
      ),
    );
    const host = await openFakes({ server, fakes });
    const stream = await host.listen(`/jobs/${ID}/events`);
    expect(stream.response.statusCode).toBe(200);
    expect(stream.response.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'private, no-cache, no-store, no-transform',
    });
    const shared = { job_id: ID, at: 1_800_000_000_000 };
    expect(await stream.all()).toEqual([
      {
        id: '1',
        event: 'status',
        data: {
          ...shared,
          sequence: 1,
          type: 'status',
          run_id: null,
          status: 'waiting',
          progress: 0,
        },
      },
      {
        id: '2',
        event: 'status',
        data: {
          ...shared,
          sequence: 2,
          type: 'status',
          run_id: ID,
          status: 'running',
          from: 'waiting',
          progress: 0,
        },
      },
      {
        id: '2',
        event: 'progress',
        data: {
          ...shared,
          sequence: 2,
          type: 'progress',
          run_id: ID,
          status: 'running',
          progress: 0.5,
          message: 'half\nway',
        },
      },
      {
        id: '3',
        event: 'status',
        data: {
          ...shared,
          sequence: 3,
          type: 'status',
          run_id: null,
          status: 'completed',
          from: 'running',
          progress: 1,
        },
      },
    ]);
    const whenReady: unknown = expect.any(Function);
    expect(asked).toEqual([[ID, { tenantId: '00000000-0000-0000-0000-000000000000', whenReady }]]);
  });

  it('sends its headers before there is anything to say', async () => {
    const events$ = new Subject<JobEvent>();
    const host = await openFakes({ server, fakes: watching(events$).fakes });
    const stream = await host.listen(`/jobs/${ID}/events`);
    expect(stream.response.statusCode).toBe(200);
    events$.next(event(1));
    expect(await stream.take(1)).toMatchObject([{ id: '1' }]);
    events$.complete();
    expect(await stream.all()).toHaveLength(1);
  });

  it('goes on after Last-Event-ID', async () => {
    const { fakes, asked } = watching(of(event(8)));
    const host = await openFakes({ server, fakes });
    await (await host.listen(`/jobs/${ID}/events`, { 'Last-Event-ID': '7' })).all();
    await (await host.listen(`/jobs/${ID}/events`, { 'Last-Event-ID': '' })).all();
    const tenantId = '00000000-0000-0000-0000-000000000000';
    const whenReady: unknown = expect.any(Function);
    expect(asked).toEqual([
      [ID, { tenantId, after: 7, whenReady }],
      [ID, { tenantId, whenReady }],
    ]);
  });

  it('tells a browser that has it all not to come back', async () => {
    const { fakes } = watching(EMPTY, aJob({ id: ID, status: 'failed', sequence: 5 }));
    const host = await openFakes({ server, fakes });
    const headers = { 'Last-Event-ID': '5' };
    expect(await host.get(`/jobs/${ID}/events`, headers)).toMatchObject({ status: 204, text: '' });
    expect(await host.get(`/jobs/${ID}/events`, { 'Last-Event-ID': '4' })).toMatchObject({
      status: 200,
    });
  });

  it.each(['x', '-1', '1.5', '1e3', '99999999999999999', '1\t2', 'null', '0x1'])(
    'refuses the Last-Event-ID %j before the stream starts',
    async (id) => {
      const { fakes, asked } = watching(NEVER);
      const host = await openFakes({ server, fakes });
      const answer = await host.get(`/jobs/${ID}/events`, { 'Last-Event-ID': id });
      expect(answer).toMatchObject({
        status: 400,
        body: { code: 'invalid_request', errors: [{ field: 'Last-Event-ID' }] },
      });
      expect(asked).toEqual([]);
    },
  );

  it('answers 404 and 400 as problem documents', async () => {
    const host = await openFakes({ server });
    const unknown = await host.get(`/jobs/${ID}/events`, { Accept: 'text/event-stream' });
    expect(unknown).toMatchObject({ status: 404, body: { code: 'not_found' } });
    const malformed = await host.get('/jobs/x/events');
    expect(malformed).toMatchObject({ status: 400, body: { code: 'invalid_request' } });
  });

  it('lets go of a client that leaves', async () => {
    let isWatched = false;
    const events$ = new Observable<JobEvent>((subscriber) => {
      isWatched = true;
      subscriber.next(event(1));
      return () => {
        isWatched = false;
      };
    });
    const host = await openFakes({ server, fakes: watching(events$).fakes });
    const stream = await host.listen(`/jobs/${ID}/events`);
    await stream.take(1);
    expect(isWatched).toBe(true);
    stream.close();
    await until(() => !isWatched, 'the end of the subscription');
  });

  it('ends when watching fails, after what was sent', async () => {
    const host = await openFakes({
      server,
      fakes: watching(throwError(() => new Error('secret'))).fakes,
    });
    const stream = await host.listen(`/jobs/${ID}/events`);
    expect(await stream.all()).toEqual([]);
  });

  it('says something at least every 15 seconds', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const host = await openFakes({ server, fakes: watching(NEVER).fakes });
    const stream = await host.listen(`/jobs/${ID}/events`);
    vi.advanceTimersByTime(15_000);
    expect(await stream.take(1)).toEqual([{ comment: 'keep-alive' }]);
    vi.advanceTimersByTime(15_000);
    expect((await stream.take(2)).length).toBeGreaterThanOrEqual(2);
    stream.close();
  });

  it('drops a client that does not read, and ends its subscription', async () => {
    let isWatched = true;
    const events$ = new Subject<JobEvent>();
    const counted$ = new Observable<JobEvent>((subscriber) => {
      const inner = events$.subscribe(subscriber);
      return () => {
        isWatched = false;
        inner.unsubscribe();
      };
    });
    const host = await openFakes({ server, fakes: watching(counted$).fakes });
    const stream = await host.listen(`/jobs/${ID}/events`);
    stream.response.pause();
    const message = 'x'.repeat(100_000);
    for (let sent = 0; sent < 400 && isWatched; sent += 1) {
      events$.next(event(sent, { message }));
      if (sent % 10 === 0) await pause(0);
    }
    await until(() => !isWatched, 'the end of the subscription');
    stream.close();
  });

  /** Tells a client as much as it takes, for as long as it takes any. */
  function flooding() {
    const state = { isWatched: false, isHeld: false, end: (): void => undefined };
    const watch = (_id: string, { whenReady }: WatchOptions = {}): Observable<JobEvent> =>
      new Observable((subscriber) => {
        state.isWatched = true;
        state.end = () => subscriber.complete();
        const message = 'x'.repeat(10_000);
        const go = (sequence: number): void => {
          const ready = whenReady?.();
          state.isHeld = ready !== undefined;
          if (ready !== undefined && !subscriber.closed) {
            void ready.then(() => go(sequence));
          } else if (!subscriber.closed) {
            subscriber.next(event(sequence, { message }));
            setImmediate(() => go(sequence + 1));
          }
        };
        go(1);
        return () => {
          state.isWatched = false;
        };
      });
    return { state, fakes: { jobs: { get: async () => aJob({ id: ID }), watch } } };
  }

  it('asks for no more than the client takes, and drops one that takes nothing for a minute', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { state, fakes } = flooding();
    const host = await openFakes({ server, fakes });
    const stream = await host.listen(`/jobs/${ID}/events`);
    stream.response.pause();
    await until(() => state.isHeld, 'the stream to be held back');
    vi.advanceTimersByTime(50_000);
    expect(state.isWatched).toBe(true);
    vi.advanceTimersByTime(10_000);
    await until(() => !state.isWatched, 'the end of the subscription');
    stream.close();
  });

  it('does not wait for a client that does not read when the application ends', async () => {
    const { state, fakes } = flooding();
    const host = await openFakes({ server, fakes });
    const stream = await host.listen(`/jobs/${ID}/events`);
    stream.response.pause();
    await until(() => state.isHeld, 'the stream to be held back');
    await within(host.app.close(), 'the end of the application');
    stream.close();
  });

  it('that has ended is still dropped when its client takes nothing for a minute', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    const { state, fakes } = flooding();
    const host = await openFakes({ server, fakes });
    const sockets = new Set<Socket>();
    const http = host.app.getHttpServer() as Server;
    http.on('connection', (socket: Socket) => {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    });
    const stream = await host.listen(`/jobs/${ID}/events`);
    stream.response.pause();
    await until(() => state.isHeld, 'the stream to be held back');
    state.end();
    await until(() => !state.isWatched, 'the end of the subscription');
    vi.advanceTimersByTime(50_000);
    expect(sockets.size).toBe(1);
    vi.advanceTimersByTime(10_000);
    await until(() => sockets.size === 0, 'the end of the connection');
    stream.close();
  });

  it('does not hold up the end of the application', async () => {
    const host = await openFakes({ server, fakes: watching(NEVER).fakes });
    const streams: EventReader[] = [];
    for (let i = 0; i < 3; i += 1) {
      streams.push(await host.listen(`/jobs/${ID}/events`));
    }
    await host.app.close();
    for (const stream of streams) {
      expect(await stream.all()).toEqual([]);
    }
  });

  it('takes many at once, without a warning of Node', async () => {
    const warnings: string[] = [];
    const note = (warning: Error): void => void warnings.push(warning.message);
    process.on('warning', note);
    const host = await openFakes({
      server,
      fakes: { jobs: { get: async () => aJob(), watch: () => NEVER } },
    });
    const paths = Array.from({ length: 30 }, () => `/jobs/${newId()}/events`);
    const streams = await Promise.all(paths.map((path) => host.listen(path)));
    // Warnings come a turn later; so does what is asked after them.
    expect((await host.get('/health/jobs')).status).toBe(200);
    process.off('warning', note);
    expect(warnings).toEqual([]);
    streams.forEach((stream) => stream.close());
  });

  it('answers HEAD at once, without watching', async () => {
    let isWatched = false;
    const events$ = new Observable<JobEvent>(() => {
      isWatched = true;
    });
    const host = await openFakes({ server, fakes: watching(events$).fakes });
    const answer = await host.ask('HEAD', `/jobs/${ID}/events`);
    expect(answer).toMatchObject({ status: 200, text: '' });
    expect(isWatched).toBe(false);
  });

  it('streams as documented behind global interceptors, and with the headers of the host', async () => {
    const host = await openFakes({
      server,
      fakes: watching(of(event(1))).fakes,
      configure: (app) => {
        app.useGlobalInterceptors(WRAPPING);
        app.enableCors({ origin: 'https://app.example' });
      },
    });
    const stream = await host.listen(`/jobs/${ID}/events`, { Origin: 'https://app.example' });
    expect(stream.response.headers['access-control-allow-origin']).toBe('https://app.example');
    expect(await stream.all()).toMatchObject([{ id: '1', event: 'status', data: { sequence: 1 } }]);
  });

  it('takes query parameters of the host, such as a token', async () => {
    const host = await openFakes({ server, fakes: watching(of(event(1))).fakes });
    const stream = await host.listen(`/jobs/${ID}/events?access_token=t&x=1&x=2`);
    expect(await stream.all()).toHaveLength(1);
  });
});

describe('the encoder of events', () => {
  it('cannot be made to end a frame early', () => {
    const anyText = fc.string({ unit: 'binary', maxLength: 50 });
    fc.assert(
      fc.property(fc.nat(), anyText, fc.object(), (id, message, extra) => {
        const text = encode({ id, type: 'progress', data: { message, extra } });
        const lines = text.split(/\r\n|\r|\n/);
        expect(lines).toHaveLength(5);
        expect(lines.slice(0, 2)).toEqual([`id: ${id}`, 'event: progress']);
        expect(lines.slice(3)).toEqual(['', '']);
        const data = (lines[2] ?? '').replace(/^data: /, '');
        expect(JSON.parse(data)).toMatchObject({
          message: JSON.parse(JSON.stringify(message)) as string,
        });
      }),
    );
  });
});
