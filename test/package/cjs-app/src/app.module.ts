import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { IsString } from 'class-validator';
import { JobsModule, JobType, type JobContext, type JobHandler } from 'nestjs-jobs';

export class GreetParams {
  @IsString()
  name = 'nobody';
}

@JobType({ name: 'greet', params: GreetParams })
export class Greet implements JobHandler<GreetParams, string> {
  execute(ctx: JobContext<GreetParams>): string {
    return `Hello, ${ctx.params.name}!`;
  }
}

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'sqlite',
      database: process.env['JOBS_DB'] ?? 'app.sqlite',
      autoLoadEntities: true,
      retryAttempts: 0,
    }),
    JobsModule.forRoot(),
  ],
  providers: [Greet],
})
export class AppModule {}
