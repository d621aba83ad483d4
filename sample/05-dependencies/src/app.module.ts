import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { JobsModule } from 'nestjs-jobs';
import { Invoice, Orders, Sum } from './handlers.js';

const database = `${import.meta.dirname}/../data/jobs.sqlite`;

@Module({
  imports: [
    TypeOrmModule.forRoot({ type: 'better-sqlite3', database, autoLoadEntities: true }),
    JobsModule.forRoot({ api: false }),
  ],
  providers: [Orders, Sum, Invoice],
})
export class AppModule {}
