// Is the package as hosts expect it? publint reads package.json, attw resolves the types as each host does.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const folder = mkdtempSync(path.join(tmpdir(), 'nestjs-jobs-pack-'));
try {
  const packed = run('npm', ['pack', '--json', '--pack-destination', folder], 'pipe');
  const { filename, entryCount, size } = JSON.parse(packed)[0];
  const tarball = path.join(folder, filename);
  console.log(`${filename}: ${entryCount} files, ${Math.ceil(size / 1000)} kB`);
  run('npx', ['--no-install', 'publint', 'run', tarball, '--strict'], 'inherit');
  run('npx', ['--no-install', 'attw', tarball], 'inherit');
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function run(command, args, stdout) {
  const options = { cwd: root, encoding: 'utf8', stdio: ['ignore', stdout, 'inherit'] };
  const { status, stdout: output } = spawnSync(command, args, options);
  if (status !== 0) {
    console.error(`${command} ${args.join(' ')} failed\n${output ?? ''}`);
    process.exit(1);
  }
  return output;
}
