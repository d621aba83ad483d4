// Are the tests worth their time? Each build of test/faults/broken-builds.mjs has one thing broken: it is
// made from a copy of the checkout, and the tests that must catch it run on that copy and have to fail. On
// a copy with nothing broken all of them have to pass: else they would fail for another reason.
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
const DEADLINE_MS = 600_000;

const args = process.argv.slice(2);
const isCheck = args.includes('--check');
const names = args.filter((arg) => !arg.startsWith('--'));

const builds = BUILDS.filter(
  ({ name }) => names.length === 0 || names.some((n) => name.includes(n)),
);
if (isCheck) {
  for (const build of builds) {
    await check(`still applies: ${build.name}`, () => void patched(root, build));
  }
} else {
  const trials = [
    {
      name: 'pass with nothing broken: the tests that have to fail in others',
      work: () => inCopy({ patches: [] }, (folder) => allMustPass(folder, builds)),
    },
    ...builds.map((build) => ({
      name: `is caught: ${build.name}`,
      work: () => inCopy(build, (folder) => allMustFail(folder, build)),
    })),
  ].values();
  // Two at a time: much of each is a cluster that waits.
  await Promise.all([tryAll(trials), tryAll(trials)]);
}
finish();

/** What each of them said comes behind its name. */
async function tryAll(trials) {
  for (const { name, work } of trials) {
    let said = [];
    await check(name, async () => (said = await work()));
    for (const line of said) console.log(`        ${line}`);
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

/** Does something with a copy of the checkout that has those patches. */
async function inCopy(build, work) {
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
    return await work(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** All tests of some builds, those of a file in one go: how many passed. */
async function allMustPass(folder, builds) {
  const said = [];
  const places = new Map();
  for (const { config, project, file, title } of builds.flatMap(({ caughtBy }) => caughtBy)) {
    const place = JSON.stringify({ config, project, file });
    places.set(place, (places.get(place) ?? new Set()).add(title));
  }
  for (const [place, titles] of places) {
    const test = { ...JSON.parse(place), title: [...titles].join('|') };
    const { failures, passed, output } = await ran(folder, test);
    const [first] = failures;
    if (first !== undefined) {
      throw new Error(`${test.file}, ${first.title}: ${first.failureMessages.join('\n')}`);
    }
    // Each title is that of a test at least.
    if (passed < titles.size) {
      throw new Error(
        `${test.file}: of ${titles.size} tests ${passed} passed: ${test.title}\n${output.slice(-2000)}`,
      );
    }
    said.push(`${test.file}: ${passed} passed`);
  }
  return said;
}

/** What each test that must catch a build said. */
async function allMustFail(folder, { caughtBy }) {
  const said = [];
  for (const test of caughtBy) said.push(await mustFail(folder, test));
  return said;
}

async function mustFail(folder, test) {
  const { failures, passed, output } = await ran(folder, test, '--bail', '1');
  const { file, title, saying } = test;
  const [first] = failures;
  if (first === undefined) {
    throw new Error(`${file} "${title}" did not fail (${passed} passed):\n${output.slice(-2000)}`);
  }
  const said = first.failureMessages.join('\n');
  if (saying !== undefined && !said.includes(saying)) {
    throw new Error(`${file} "${title}" failed, and does not say "${saying}":\n${said}`);
  }
  return `${first.title}: ${saidOf(first)}`;
}

/** Runs the tests of that title on the copy. */
async function ran(folder, { config, project, file, title }, ...more) {
  const report = path.join(folder, 'report.json');
  rmSync(report, { force: true });
  const output = await run(
    process.execPath,
    [
      path.join(root, 'node_modules/vitest/vitest.mjs'),
      ...['run', file, '--config', config, ...more],
      ...(project === undefined ? [] : ['--project', project]),
      ...(title === '' ? [] : ['--testNamePattern', title]),
      ...['--reporter=json', `--outputFile=${report}`],
    ],
    {
      cwd: folder,
      deadlineMs: DEADLINE_MS,
      // What vitest has started, and servers and applications of the tests.
      group: true,
      env: { JOBS_TEST_FULL: '', JOBS_TEST_ORDERS: 'every' },
    },
  ).catch((error) => error.message);
  const { numPassedTests, testResults } = JSON.parse(readFileSync(report, 'utf8'));
  const failures = testResults.flatMap(({ assertionResults }) =>
    assertionResults.filter(({ status }) => status === 'failed'),
  );
  return { failures, passed: numPassedTests, output: String(output) };
}

/** Why it failed, in a line: the first broken promise, where the checker names some. */
function saidOf({ failureMessages }) {
  const lines = failureMessages.join('\n').split('\n');
  const named = lines.find((line) => /: (job|run|the handler|a handler) /.test(line));
  return (named ?? lines[0]).trim().slice(0, 200);
}
