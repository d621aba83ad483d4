import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { JobsModule, JobsService, JobType, type JobContext, type JobHandler } from 'nestjs-jobs';

const database = `${import.meta.dirname}/../data/jobs.sqlite`;

interface Guest {
  name: string;
}

@JobType({ name: 'hello' })
class Hello implements JobHandler<Guest, string> {
  execute(ctx: JobContext<Guest>): string {
    return `Hello, ${ctx.params.name}! I am job ${ctx.job.id}.`;
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({ type: 'better-sqlite3', database, autoLoadEntities: true }),
    JobsModule.forRoot(),
  ],
  providers: [Hello],
})
class AppModule {}

const app = await NestFactory.createApplicationContext(AppModule, { logger: ['warn', 'error'] });
const jobs = app.get(JobsService);
const { id } = await jobs.enqueue(Hello, { name: 'world' });
const { result } = await jobs.wait(id, { timeout: '10s' });
console.log(result);
await app.close();
