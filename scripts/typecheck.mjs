// Checks the types of everything on Nest 12 and TypeORM 1, then of what runs on the older line on that.
import { compile } from './build.mjs';

let failed = false;
for (const project of ['.', 'test/compat/nest11']) {
  const complaints = await compile('-p', project);
  console.log(complaints === '' ? `${project}: ok` : `${project}:\n${complaints}`);
  failed ||= complaints !== '';
}
process.exitCode = failed ? 1 : 0;
