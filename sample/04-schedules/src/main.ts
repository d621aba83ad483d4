import { mkdirSync } from 'node:fs';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { bufferCount, filter, firstValueFrom, merge } from 'rxjs';
import { JobsModule, JobsService, SchedulesService } from 'nestjs-jobs';
import { Heartbeat } from './heartbeat.js';
import { Report } from './report.js';

const folder = `${import.meta.dirname}/../data`;
mkdirSync(folder, { recursive: true });

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'better-sqlite3',
      database: `${folder}/jobs.sqlite`,
      autoLoadEntities: true,
    }),
    JobsModule.forRoot(),
  ],
  providers: [Heartbeat, Report],
})
class AppModule {}

// Two applications on one database: each slot runs in one of them.
const quiet = { logger: ['warn', 'error'] as ('warn' | 'error')[] };
const apps = [
  await NestFactory.createApplicationContext(AppModule, quiet),
  await NestFactory.createApplicationContext(AppModule, quiet),
] as const;
const [app] = apps;
const schedules = app.get(SchedulesService);
const jobs = app.get(JobsService);

const nights = await schedules.preview('nightly report', 3);
console.log(`nightly     ${nights.map((night) => night.toISOString()).join(', ')}`);
const { id } = await schedules.runNow('nightly report');
await jobs.wait(id, { timeout: '10s' });

const written$ = merge(...apps.map((each) => each.get(Report).written$));
const third = firstValueFrom(
  written$.pipe(
    filter((period) => period === 'hour'),
    bufferCount(3),
  ),
);
await schedules.upsert({ name: 'hourly', type: Report, every: '1s', params: { period: 'hour' } });
await third;
await schedules.delete('hourly');
await schedules.pause('heartbeat');
const beats = await jobs.list({ scheduleId: (await schedules.get('heartbeat')).id });
console.log(`in all      ${beats.total} heartbeats, one a slot`);
await schedules.resume('heartbeat');
await Promise.all(apps.map((each) => each.close()));
