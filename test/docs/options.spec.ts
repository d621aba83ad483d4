import path from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';
import { resolveOptions } from '../../lib/jobs.resolve-options.js';
import { readPage, tableUnder, words } from './support/pages.js';

const page = readPage('docs/reference/options.md');
const source = ts.createSourceFile(
  'jobs.options.ts',
  readPage('lib/jobs.options.ts'),
  ts.ScriptTarget.Latest,
);

/** Heading of the page → the type whose keys its table has. */
const sections: Readonly<Record<string, string>> = {
  '## Module': 'JobsModuleOptions',
  '## `defaults`': 'JobDefaults',
  '## `lease`': 'LeaseOptions',
  '## `grace`': 'GraceOptions',
  '## `limits`': 'LimitOptions',
  '## `logs`': 'JobLogOptions',
  '## `logs.file`': 'LogFileOptions',
  '## `database`': 'DatabaseOptions',
  '## `webhooks`': 'WebhooksOptions',
  '## `api`': 'ApiOptions',
};
/** Options that are objects, with a section of their own. */
const nested = [
  'defaults',
  'lease',
  'grace',
  'retention',
  'limits',
  'logs',
  'database',
  'webhooks',
];

it.each(Object.entries(sections))('%s has every key, and nothing else', (heading, type) => {
  const expected = keysOf(type).filter(
    (key) => type !== 'JobsModuleOptions' || !nested.includes(key),
  );
  expect(keysUnder(heading).sort()).toEqual(expected.sort());
});

it('has a section for every option that is an object, and for no other', () => {
  const headings = page.split('\n').filter((line) => line.startsWith('## '));
  expect(headings.sort()).toEqual([...Object.keys(sections), '## `retention`'].sort());
});

it('has the defaults that the source has', () => {
  const { defaults, lease, grace, limits, retention, logs } = resolveOptions({
    logs: { file: { path: 'x' } },
  });
  expect(defaultsUnder('## `limits`')).toEqual(shown(limits));
  expect(defaultsUnder('## `defaults`')).toEqual({
    timeout: String(defaults.timeoutMs),
    maxRetries: String(defaults.maxRetries),
    retryDelay: duration(defaults.retryDelayMs),
    backoff: `'${defaults.backoff.type}'`,
    retryOnTimeout: String(defaults.retryOnTimeout),
  });
  expect(defaultsUnder('## `lease`')).toEqual({
    duration: duration(lease.durationMs),
    sweep: duration(lease.sweepMs),
    maxLost: String(lease.maxLost),
  });
  expect(defaultsUnder('## `grace`')).toEqual({
    shutdown: duration(grace.shutdownMs),
    signal: duration(grace.signalMs),
  });
  expect(defaultsUnder('## `retention`')).toEqual(
    Object.fromEntries([...retention].map(([status, ms]) => [status, duration(ms)])),
  );
  expect(defaultsUnder('## `logs.file`')).toMatchObject({
    level: `'${logs.file?.level}'`,
    maxSize: `'${logs.file?.maxSize}'`,
    maxFiles: String(logs.file?.maxFiles),
    maxAge: duration(logs.file?.maxAgeMs ?? 0),
  });
});

it('names what cannot come late as the source does', () => {
  const text = readPage('lib/jobs.module.ts');
  const list = /const EXTRAS[^=]*= \[([^\]]*)\]/.exec(text)?.[1] ?? '';
  const names = [...list.matchAll(/'(\w+)'/g)].map((match) => match[1]);
  const sentence = /stand beside it: ([^.]*)\./.exec(page)?.[1];
  expect(new Set(words(sentence))).toEqual(new Set(names));
});

function keysUnder(heading: string): string[] {
  const [, ...rows] = tableUnder(page, heading);
  return rows.flatMap((row) => words(row[0]));
}

function defaultsUnder(heading: string): Record<string, string> {
  const [, ...rows] = tableUnder(page, heading);
  return Object.fromEntries(
    rows.map((row) => [words(row[0])[0], words(row[1])[0] ?? row[1] ?? '']),
  );
}

function keysOf(name: string): string[] {
  const found = source.statements.find(
    (each): each is ts.InterfaceDeclaration =>
      ts.isInterfaceDeclaration(each) && each.name.text === name,
  );
  if (found === undefined) throw new Error(`${path.basename(source.fileName)} has no ${name}.`);
  return found.members.map((member) => member.name?.getText(source) ?? '');
}

function shown(values: object): Record<string, string> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, String(value)]));
}

function duration(ms: number): string {
  return ms % 86_400_000 === 0 ? `'${ms / 86_400_000}d'` : `'${ms / 1000}s'`;
}
