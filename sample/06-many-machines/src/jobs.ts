import type { DynamicModule } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { JobsModule, type JobsModuleOptions } from 'nestjs-jobs';

/** The same database and the same limits in every process; what each is for is its own. */
export function jobs(options: Pick<JobsModuleOptions, 'role' | 'api'>): DynamicModule[] {
  const url = process.env['DATABASE_URL'];
  return [
    TypeOrmModule.forRoot({ type: 'postgres', url, autoLoadEntities: true }),
    JobsModule.forRoot({
      ...options,
      queues: { default: 3 },
      // A dead worker's jobs come back after 1.5 seconds, so that one can watch it.
      lease: { duration: '1s', sweep: '500ms' },
    }),
  ];
}
