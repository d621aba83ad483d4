import { NestFactory } from '@nestjs/core';
import { JobsService } from 'nestjs-jobs';
import { AppModule } from './app.module.js';
import { Print, Scan } from './handlers.js';

const app = await NestFactory.create(AppModule, {
  logger: ['error', 'fatal'],
  forceCloseConnections: true,
});
await app.listen(0, '127.0.0.1');
const url = await app.getUrl();
const jobs = app.get(JobsService);

const scan = await jobs.enqueue(Scan, { pages: 10 });
const print = await jobs.enqueue(Print, { pages: 10 });
await Promise.all([showEvents(scan.id), showEvents(print.id)]);
await app.close();

/** Prints what `curl -N <url>/jobs/<id>/events` would; the stream ends when the job has ended. */
async function showEvents(id: string): Promise<void> {
  const { body, status } = await fetch(`${url}/jobs/${id}/events`);
  if (status !== 200 || body === null) throw new Error(`The events answered ${status}.`);
  const text = body.pipeThrough(new TextDecoderStream());
  for await (const event of text) {
    console.log(`SSE        ${event.trim().replaceAll('\n', '  ')}`);
  }
}
