import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { jobs } from './jobs.js';
import { Render } from './render.handler.js';

/** Runs jobs and has no routes. Start as many as you like, on as many machines. */
@Module({ imports: jobs({ role: 'worker', api: false }), providers: [Render] })
class WorkerModule {}

const app = await NestFactory.createApplicationContext(WorkerModule, {
  logger: ['error', 'fatal'],
});
app.enableShutdownHooks();
console.log(`worker    process ${process.pid} takes jobs`);
process.send?.('ready');
process.once('disconnect', () => void app.close());
