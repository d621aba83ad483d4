// Is the package as hosts expect it? publint reads package.json, attw resolves the types as each host does.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const root = path.resolve(import.meta.dirname, '..');
const folder = mkdtempSync(path.join(tmpdir(), 'nestjs-jobs-pack-'));
try {
  const packed = run('npm', ['pack', '--json', '--pack-destination', folder], 'pipe');
  const { filename, entryCount, size, files } = JSON.parse(packed)[0];
  const tarball = path.join(folder, filename);
  console.log(`${filename}: ${entryCount} files, ${Math.ceil(size / 1000)} kB`);
  checkLinks(new Set(files.map((file) => file.path)));
  run('npx', ['--no-install', 'publint', 'run', tarball, '--strict'], 'inherit');
  run('npx', ['--no-install', 'attw', tarball], 'inherit');
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** Pages are read in the package too: what their links lead to must be in it. */
function checkLinks(packed) {
  const pages = [...packed].filter((name) => name.endsWith('.md'));
  const broken = pages.flatMap((page) =>
    [...readFileSync(path.join(root, page), 'utf8').matchAll(/\]\(([^)#\s]+)/g)]
      .filter(([, link]) => !/^[a-z]+:/.test(link))
      .map(([, link]) => path.posix.join(path.posix.dirname(page), link).replace(/\/$/, ''))
      .filter((target) => ![...packed].some((name) => `${name}/`.startsWith(`${target}/`)))
      .map((target) => `${page} → ${target}`),
  );
  if (broken.length > 0) {
    console.error(`links of the package to what is not in it:\n${broken.join('\n')}`);
    process.exit(1);
  }
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
