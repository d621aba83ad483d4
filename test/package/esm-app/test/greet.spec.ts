import 'reflect-metadata';
import { Test } from '@nestjs/testing';
import { expect, it } from 'vitest';
import { JobsService } from 'nestjs-jobs';
import { AppModule, Greet } from '../src/app.module.js';

it('runs a job in a testing module', async () => {
  const module = await Test.createTestingModule({ imports: [AppModule] }).compile();
  const app = await module.init();
  const jobs = app.get(JobsService);
  const { id } = await jobs.enqueue(Greet, { name: 'test' });
  const job = await jobs.wait(id, { timeout: '10s' });
  expect(job.status).toBe('completed');
  expect(job.result).toBe('Hello, test!');
  await app.close();
});
