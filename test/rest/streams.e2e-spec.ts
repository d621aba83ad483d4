import { describe, expect, it } from 'vitest';
import { JobType, type JobContext, type JobHandler } from '../../lib/index.js';
import { SERVERS } from '../support/http.js';
import { waitForEnd } from '../support/waiting.js';
import { openReal } from './real.js';

const COUNT = 600;

@JobType({ name: 'talkative' })
class Talkative implements JobHandler {
  async execute(ctx: JobContext): Promise<void> {
    for (let at = 1; at <= COUNT; at += 1) {
      await ctx.checkIn(`${at} ${'x'.repeat(15_000)}`);
    }
  }
}

describe.each(SERVERS)('a stream of what is stored on %s', (server) => {
  it('is sent whole, megabytes of it, to a client that comes back and reads slowly', async () => {
    const host = await openReal({ server, types: [Talkative] });
    const { id } = await host.jobs.enqueue(Talkative);
    await waitForEnd(host.jobs, id);
    const stream = await host.listen(`/jobs/${id}/events`, { 'Last-Event-ID': '2' });
    stream.response.pause();
    for (let asked = 0; asked < 20; asked += 1) {
      expect((await host.get(`/jobs/${id}`)).status).toBe(200);
    }
    stream.response.resume();
    const frames = (await stream.all()).filter(({ id: sequence }) => sequence !== undefined);
    expect(frames.map(({ id: sequence }) => Number(sequence))).toEqual(
      Array.from({ length: COUNT + 1 }, (_, at) => at + 3),
    );
    expect(frames.at(-1)?.data).toMatchObject({ type: 'status', status: 'completed' });
  });
});
