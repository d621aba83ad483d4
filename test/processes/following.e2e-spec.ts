import { beforeEach, describe, expect, it, vi } from 'vitest';
import { JobType, type JobHandler, type JobsService } from '../../lib/index.js';
import { openReal } from '../rest/real.js';
import { ChildApplication } from '../support/children.js';
import { createDatabase, type TestDatabase } from '../support/databases.js';
import type { EventReader, Frame, HttpApp } from '../support/http.js';
import { until } from '../support/waiting.js';

// Three applications start for each test, on machines that have other things to do.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });
const PATIENCE_MS = 20_000;

/** Known here by name only: the handler is in another process. */
@JobType({ name: 'steps', suspendable: true, maxRetries: 9, retryDelay: 1 })
class Steps implements JobHandler {
  execute(): void {}
}

/** Nodes that serve requests and run nothing. */
type Node = HttpApp & { readonly jobs: JobsService };

let database: TestDatabase;
let worker: ChildApplication;
let nodes: Node[];

beforeEach(async () => {
  database = createDatabase();
  const open = (): Promise<Node> =>
    openReal({ server: 'express', types: [Steps], options: { role: 'producer' }, database });
  nodes = [await open(), await open()];
  worker = await ChildApplication.start({ database });
});

const node = (n: number): Node => nodes[n % nodes.length] as Node;

/** The frames that are no comments, without what a frame may have more. */
const told = (frames: readonly Frame[]) =>
  frames
    .filter(({ event }) => event !== undefined)
    .map(({ id, event, data }) => ({
      sequence: Number(id),
      event,
      status: data?.['status'],
      progress: data?.['progress'],
    }));

/** Waits until a stream has told something. */
const hears = (stream: EventReader, what: object, words: string) =>
  until(
    () =>
      told(stream.frames).some((each) =>
        Object.entries(what).every(([k, v]) => Reflect.get(each, k) === v),
      ),
    `the client to hear ${words}`,
    PATIENCE_MS,
  );

/** Tells the handler, in its nth run, what to do next. */
async function step(id: string, run: number, what: string, value: unknown): Promise<void> {
  const seen = worker.messages.filter((each) => each.event === `ready ${run}` && each.id === id);
  await worker.call('process', 'step', id, what, value);
  if (what === 'progress') {
    await until(
      () =>
        worker.messages.filter((each) => each.event === `ready ${run}` && each.id === id).length >
        seen.length,
      'the handler to go on',
      PATIENCE_MS,
    );
  }
}

describe('a client of one node', () => {
  it('follows a job that runs on another: each status once, and every report that stays', async () => {
    const { id } = await node(0).jobs.enqueue(Steps, {}, { delay: '1h' });
    const stream = await node(0).listen(`/jobs/${id}/events`);
    await hears(stream, { event: 'status', status: 'waiting' }, 'that it waits');
    await node(0).jobs.update(id, { runAt: new Date(0) });
    await worker.event('ready 1', id);
    await hears(stream, { event: 'status', status: 'running' }, 'that it runs');
    await step(id, 1, 'progress', 0.25);
    await hears(stream, { event: 'progress', progress: 0.25 }, 'a quarter');
    await step(id, 1, 'progress', 0.5);
    await hears(stream, { event: 'progress', progress: 0.5 }, 'half of it');
    await step(id, 1, 'return', 'done');
    const frames = told(await stream.all());
    expect(frames.at(-1)).toMatchObject({ event: 'status', status: 'completed', progress: 1 });
    expect(new Set(frames.map((each) => JSON.stringify(each))).size).toBe(frames.length);
    const sequences = frames.filter(({ event }) => event === 'status').map((each) => each.sequence);
    expect(sequences).toEqual([...new Set(sequences)].toSorted((a, b) => a - b));
  });

  it('hears the one report that comes after it began to follow', async () => {
    const { id } = await node(0).jobs.enqueue(Steps);
    await worker.event('ready 1', id);
    const stream = await node(0).listen(`/jobs/${id}/events`);
    await hears(stream, { event: 'status', status: 'running' }, 'that it runs');
    await step(id, 1, 'progress', 0.5);
    await hears(stream, { event: 'progress', progress: 0.5 }, 'half of it');
    await step(id, 1, 'return', 'done');
    expect(told(await stream.all()).map(({ status, progress }) => [status, progress])).toEqual([
      ['running', 0],
      ['running', 0.5],
      ['completed', 1],
    ]);
  });

  it('that is cut off again and again misses no status that stays, and hears none twice', async () => {
    const { id } = await node(0).jobs.enqueue(Steps);
    const heard: ReturnType<typeof told> = [];
    let stream = await node(0).listen(`/jobs/${id}/events`);
    let turn = 0;
    /** As a browser does it: to any of the nodes, with the last id that it has. */
    const comeBack = async (): Promise<void> => {
      const last = heard.at(-1)?.sequence;
      turn += 1;
      stream = await node(turn).listen(`/jobs/${id}/events`, {
        ...(last === undefined ? {} : { 'Last-Event-ID': String(last) }),
      });
    };
    const cut = (): void => {
      stream.close();
      heard.push(...told(stream.frames));
    };
    const stands = async (status: string): Promise<number> => {
      const job = await until(
        async () => {
          const found = await node(1).jobs.get(id);
          return found.status === status && found;
        },
        `it to be ${status}`,
        PATIENCE_MS,
      );
      return job.sequence;
    };

    let run = 1;
    await worker.event(`ready ${run}`, id);
    await hears(stream, { event: 'status', sequence: await stands('running') }, 'that it runs');
    for (let round = 0; round < 4; round += 1) {
      cut();
      // While nobody listens it fails, waits, runs again and is suspended.
      await step(id, run, 'throw', 'again');
      run += 1;
      await worker.event(`ready ${run}`, id);
      await node(round).jobs.suspend(id);
      const suspended = await stands('suspended');
      await comeBack();
      await hears(stream, { event: 'status', sequence: suspended }, 'that it is suspended');
      // While somebody listens it is resumed.
      await node(round + 1).jobs.resume(id);
      run += 1;
      await worker.event(`ready ${run}`, id);
      await hears(stream, { event: 'status', sequence: await stands('running') }, 'that it runs');
    }
    cut();
    await comeBack();
    await step(id, run, 'return', 'done');
    await stream.all();
    cut();

    const statuses = heard.filter(({ event }) => event === 'status');
    const sequences = statuses.map(({ sequence }) => sequence);
    expect(sequences).toEqual([...new Set(sequences)].toSorted((a, b) => a - b));
    const { status, sequence } = await node(0).jobs.get(id);
    expect(statuses.at(-1)).toMatchObject({ status: 'completed', sequence });
    expect(status).toBe('completed');
    const headers = { 'Last-Event-ID': String(sequence) };
    for (const each of nodes) {
      expect((await each.get(`/jobs/${id}/events`, headers)).status).toBe(204);
    }
  });
});
