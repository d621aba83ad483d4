import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { JobsModule } from 'nestjs-jobs';
import { FetchHandler } from './downloads/fetch.handler.js';
import { DigestHandler } from './files/digest.handler.js';
import { CompactHandler } from './maintenance/compact.handler.js';
import { settings } from './settings.js';

@Module({
  imports: [
    TypeOrmModule.forRoot({
      type: 'better-sqlite3',
      database: settings.database,
      autoLoadEntities: true,
    }),
    JobsModule.forRoot({
      groups: [
        { name: 'files', queue: 'compute', description: 'Work on files of this machine' },
        { name: 'downloads', queue: 'download', description: 'Files from elsewhere' },
        { name: 'maintenance', queue: 'maintenance', description: 'Care for databases' },
      ],
      // Short, so that you need not wait long to see a killed process's job go on.
      // Kill it as often as you like: a job is given up after a hundred lost workers, not after three.
      lease: { duration: '5s', sweep: '1s', maxLost: 100 },
      // Every handler here can stop at any time and go on later: Ctrl-C need not wait for it.
      grace: { shutdown: 0, signal: '5s' },
    }),
  ],
  providers: [DigestHandler, FetchHandler, CompactHandler],
})
export class AppModule {}
