import 'reflect-metadata';
import { deepStrictEqual } from 'node:assert';
import { NestFactory } from '@nestjs/core';
import { JobsService } from 'nestjs-jobs';
import { AppModule, Greet } from './app.module';

// One job in code and one over HTTP; then the process has nothing left to do and ends by itself.
async function main(): Promise<void> {
  const app = await NestFactory.create(AppModule, { logger: ['warn', 'error'] });
  await app.listen(0, '127.0.0.1');
  const jobs = app.get(JobsService);

  const { id } = await jobs.enqueue(Greet, { name: 'code' });
  const job = await jobs.wait(id, { timeout: '10s' });
  deepStrictEqual([job.status, job.result], ['completed', 'Hello, code!']);

  const url = `${await app.getUrl()}/jobs`;
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'default:greet', params: { name: 'HTTP' } }),
  });
  deepStrictEqual(response.status, 202);
  const created = (await response.json()) as { id: string };
  const answer = await fetch(`${url}/${created.id}/wait?timeout_sec=10`);
  const ended = (await answer.json()) as { status: string; result: unknown };
  deepStrictEqual([ended.status, ended.result], ['completed', 'Hello, HTTP!']);

  const refused = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ type: 'default:greet', params: { name: 7 } }),
  });
  deepStrictEqual(refused.status, 400);

  await app.close();
  console.log('both jobs completed');
}

void main();
