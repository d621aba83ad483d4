import { NestFactory } from '@nestjs/core';
import type { NestExpressApplication } from '@nestjs/platform-express';
import { DocumentBuilder, SwaggerModule } from '@nestjs/swagger';
import { isJobsError, JobsService } from 'nestjs-jobs';
import { AppModule } from './app.module.js';
import { firstDigest } from './first-digest.js';
import { follow } from './follow.js';
import { listen } from './listen.js';
import { settings } from './settings.js';
import { welcome } from './welcome.js';

const app = await NestFactory.create<NestExpressApplication>(AppModule, {
  logger: ['warn', 'error', 'fatal'],
  forceCloseConnections: true, // whoever follows events would hold up Ctrl-C
});
app.useBodyParser('json', { limit: '6mb' }); // a batch of jobs may have 5 MB
app.enableShutdownHooks();
const about = new DocumentBuilder().setTitle('nestjs-jobs: the main sample').build();
SwaggerModule.setup('docs', app, SwaggerModule.createDocument(app, about));

const url = await listen(app, settings.port, settings.host);
const jobs = app.get(JobsService);
const digest = await firstDigest(jobs, settings.folder).catch((error: unknown) => {
  if (!isJobsError(error)) throw error;
  console.error(`Listening on ${url}, without a first job: ${error.message}`);
});
if (digest !== undefined) {
  welcome(url, digest);
  await follow(jobs, digest.id, process.stdout);
}
