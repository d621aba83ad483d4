import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { jobs } from './jobs.js';
import { Render } from './render.handler.js';

/** Serves requests and runs nothing; it knows the types, whose params and hooks an enqueue needs. */
@Module({ imports: jobs({ role: 'producer' }), providers: [Render] })
class WebModule {}

const app = await NestFactory.create(WebModule, {
  logger: ['error', 'fatal'],
  forceCloseConnections: true,
});
app.enableShutdownHooks();
await app.listen(Number(process.env['PORT'] ?? 0), '127.0.0.1');
const url = await app.getUrl();
console.log(`web       process ${process.pid} listens on ${url}`);
process.send?.(url);
process.once('disconnect', () => void app.close());
