// Are the tests worth their time? Each build of test/faults/broken-builds.mjs has one thing broken: it is
// made from a copy of the checkout, and the tests that must catch it run on that copy and have to fail.
//   --check   only whether every patch still finds what it replaces
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BUILDS } from '../test/faults/broken-builds.mjs';
import { check, finish, run } from './checks.mjs';

const root = path.resolve(import.meta.dirname, '..');
const COPIED = [
  'lib',
  'test',
  'scripts',
  'sample',
  'package.json',
  'tsconfig.json',
  'tsconfig.esm.json',
  'tsconfig.cjs.json',
  'vitest.config.ts',
  'vitest.faults.config.ts',
];
const DEADLINE_MS = 420_000;

const args = process.argv.slice(2);
const isCheck = args.includes('--check');
const names = args.filter((arg) => !arg.startsWith('--'));

const wanted = BUILDS.filter(
  ({ name }) => names.length === 0 || names.some((n) => name.includes(n)),
);
if (isCheck) {
  for (const build of wanted) {
    await check(`still applies: ${build.name}`, () => void patched(root, build));
  }
} else {
  // Two at a time: much of each is a cluster that waits.
  const left = wanted.values();
  await Promise.all([tryAll(left), tryAll(left)]);
}
finish();

async function tryAll(builds) {
  for (const build of builds) {
    let why = [];
    await check(`is caught: ${build.name}`, async () => (why = await isCaught(build)));
    for (const line of why) console.log(`        ${line}`);
  }
}

/** The files of a build, by their names, with its patches applied. */
function patched(folder, { patches }) {
  const files = new Map();
  for (const { file, from, to } of patches) {
    const text = files.get(file) ?? readFileSync(path.join(folder, file), 'utf8');
    const count = text.split(from).length - 1;
    if (count !== 1) throw new Error(`${file} contains this ${count} times, not once:\n${from}`);
    files.set(
      file,
      text.replace(from, () => to),
    );
  }
  return files;
}

/** What each test that must catch it said. */
async function isCaught(build) {
  const folder = mkdtempSync(path.join(tmpdir(), 'nestjs-jobs-broken-'));
  try {
    for (const name of COPIED) {
      cpSync(path.join(root, name), path.join(folder, name), {
        recursive: true,
        filter: (from) => !/[/\\](node_modules|dist|data)$/.test(from),
      });
    }
    symlinkSync(path.join(root, 'node_modules'), path.join(folder, 'node_modules'));
    for (const [file, text] of patched(folder, build)) writeFileSync(path.join(folder, file), text);
    const why = [];
    for (const test of build.caughtBy) why.push(await mustFail(folder, test));
    return why;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function mustFail(folder, { config, project, file, title }) {
  const report = path.join(folder, 'report.json');
  rmSync(report, { force: true });
  const output = await run(
    process.execPath,
    [
      path.join(root, 'node_modules/vitest/vitest.mjs'),
      ...['run', file, '--config', config, '--bail', '1'],
      ...(project === undefined ? [] : ['--project', project]),
      ...(title === '' ? [] : ['--testNamePattern', title]),
      ...['--reporter=json', `--outputFile=${report}`],
    ],
    {
      cwd: folder,
      deadlineMs: DEADLINE_MS,
      env: { JOBS_TEST_FULL: '', JOBS_TEST_ORDERS: 'every' },
    },
  ).catch((error) => error.message);
  const { numPassedTests, numFailedTests, testResults } = JSON.parse(readFileSync(report, 'utf8'));
  const failures = testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status === 'failed'),
  );
  if (numFailedTests === 0 || failures.length === 0) {
    throw new Error(
      `${file} "${title}" did not fail (${numPassedTests} passed):\n${String(output).slice(-2000)}`,
    );
  }
  const [first] = failures;
  return `${first.title}: ${saidOf(first)}`;
}

/** Why it failed, in a line: the first broken promise, where the checker names some. */
function saidOf({ failureMessages }) {
  const lines = failureMessages.join('\n').split('\n');
  const named = lines.find((line) => /: (job|run|the handler|a handler) /.test(line));
  return (named ?? lines[0]).trim().slice(0, 200);
}
