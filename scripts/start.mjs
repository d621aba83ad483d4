// npm start [-- <sample>]: builds the library and the sample where they are out of date, then runs it.
import { existsSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build, compile, isBuilt } from './build.mjs';

const root = path.resolve(import.meta.dirname, '..');
const name = process.argv[2] ?? 'main';
const sample = path.join(root, 'sample', name);

if (!existsSync(path.join(sample, 'src/main.ts'))) {
  const known = readdirSync(path.join(root, 'sample')).join(', ');
  stop(`There is no sample "${name}". There are: ${known}.`);
}
if (!isBuilt()) {
  console.log('Building the library …');
  stop(await build());
}
stop(await compile('-p', path.join('sample', name, 'tsconfig.json')));

// In this very process, so that Ctrl-C and kill reach the application and nobody else.
process.argv.splice(1, 2, path.join(sample, 'dist/main.js'));
await import(pathToFileURL(process.argv[1]).href);

function stop(complaint) {
  if (complaint === '') return;
  console.error(complaint);
  process.exit(1);
}
