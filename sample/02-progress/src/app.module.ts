import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { JobsModule } from 'nestjs-jobs';
import { Print, Scan } from './handlers.js';
import { Monitor } from './monitor.js';

const database = `${import.meta.dirname}/../data/jobs.sqlite`;

@Module({
  imports: [
    TypeOrmModule.forRoot({ type: 'better-sqlite3', database, autoLoadEntities: true }),
    JobsModule.forRoot(),
  ],
  providers: [Scan, Print, Monitor],
})
export class AppModule {}
