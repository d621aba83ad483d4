// An empty project after `npm install nestjs-jobs`: required peers are there, optional ones are not.
import { strictEqual, throws } from 'node:assert';
import { createRequire } from 'node:module';
import * as imported from 'nestjs-jobs';

const require = createRequire(import.meta.url);
for (const name of ['@nestjs/swagger', '@nestjs/schedule', 'better-sqlite3', 'sqlite3']) {
  throws(() => require.resolve(name), { code: 'MODULE_NOT_FOUND' }, `${name} is installed`);
}
// One class, however it is loaded: two would be two injection tokens and two sets of entities.
strictEqual(require('nestjs-jobs').JobsModule, imported.JobsModule);
strictEqual(typeof imported.JobsModule.forRoot, 'function');
