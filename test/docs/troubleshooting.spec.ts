import { readdirSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { describe, expect, it } from 'vitest';
import { JOBS_ERROR_STATUS } from '../../lib/model/errors.js';
import { readPage, tableUnder, words } from './support/pages.js';

const root = path.resolve(import.meta.dirname, '../..');
const page = readPage('docs/operations/troubleshooting.md').replaceAll(/\s+/g, ' ');

/** Where a log line comes from that is not said where the logger is called; what stands for it on the page. */
const ELSEWHERE: Readonly<Record<string, readonly string[]>> = {
  'lib/rest/problem.filter.ts what': ['A method, a path and a code, with a stack'],
  'lib/engine/claim-buffer.ts text': ['could not be given back'],
  'lib/engine/queue-runner.ts text': ['could not be settled; it comes back when its lease ends'],
  'lib/engine/engine.ts text': ['The start of …', 'Progress of …', 'was not stored'],
  'lib/engine/engine.ts caveat': [
    'A pooler such as PgBouncer stands between',
    'The write-ahead log of the jobs database is larger than',
  ],
  'lib/engine/opening.ts text': ['The jobs database cannot be'],
  'lib/engine/opening.ts String(failure)': ['`schema_mismatch`'],
  'lib/engine/opening.ts String(error)': ['`schema_mismatch`'],
  'lib/jobs.advice.ts trouble': ['may abort the process on Node'],
  'lib/jobs.core.module.ts text': [
    'was disabled',
    'is told nothing any more',
    'cannot be read',
    'could not be settled and is sent again',
    'with a key that lies in the same database',
  ],
  'lib/jobs.core.module.ts message': [
    'cannot be written',
    'could not be rotated',
    'is not written as fast as jobs log',
  ],
};

/** Shorter parts are on any page. */
const SAYS_SOMETHING = 12;

interface Line {
  /** File, and the argument as it stands there. */
  readonly from: string;
  /** The texts of the line that are the same in every case; none when it is put together elsewhere. */
  readonly texts: readonly string[];
}

const lines = readdirSync(path.join(root, 'lib'), { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .flatMap((file) => linesOf(path.posix.join('lib', file.replaceAll(path.sep, '/'))));

/** What a file says at the levels warn, error and fatal. */
function linesOf(file: string): Line[] {
  const source = ts.createSourceFile(file, readPage(file), ts.ScriptTarget.Latest, true);
  const found: Line[] = [];
  const visit = (node: ts.Node): void => {
    const callee = ts.isCallExpression(node) ? node.expression : undefined;
    if (
      ts.isCallExpression(node) &&
      callee !== undefined &&
      ts.isPropertyAccessExpression(callee) &&
      /^(warn|error|fatal)$/.test(callee.name.text) &&
      /logger$/i.test(callee.expression.getText())
    ) {
      const [argument] = node.arguments;
      if (argument !== undefined) {
        found.push({ from: `${file} ${argument.getText()}`, texts: textsOf(argument) });
      }
    }
    ts.forEachChild(node, visit);
  };
  visit(source);
  return found;
}

function textsOf(node: ts.Expression): readonly string[] {
  if (ts.isStringLiteralLike(node)) return [node.text];
  if (ts.isTemplateExpression(node)) {
    return [node.head.text, ...node.templateSpans.map((span) => span.literal.text)];
  }
  return ts.isBinaryExpression(node) ? [...textsOf(node.left), ...textsOf(node.right)] : [];
}

/** The part by which a line is known: of the first text that says something, what is before its stop. */
function mark(texts: readonly string[]): string {
  const parts = texts.map(
    (text) => /^[^.:;]*/.exec(text.replace(/^[^\w[]+/, ''))?.[0].trim() ?? '',
  );
  return parts.find((part) => part.length >= SAYS_SOMETHING) ?? '';
}

describe('the page of troubles', () => {
  it('is about all that is logged', () => {
    expect(lines.length).toBeGreaterThan(20);
    const missing = lines.filter(
      (line) =>
        ELSEWHERE[line.from] === undefined &&
        (mark(line.texts) === '' || !page.includes(mark(line.texts))),
    );
    expect(missing.map(({ from, texts }) => `${from} → ${mark(texts)}`)).toEqual([]);
  });

  it.each(Object.entries(ELSEWHERE))('has what stands for %s', (from, texts) => {
    expect(lines.map((line) => line.from)).toContain(from);
    expect(texts.filter((text) => !page.includes(text))).toEqual([]);
  });

  it('has every code that callers are told, once', () => {
    const [, ...rows] = tableUnder(
      readPage('docs/operations/troubleshooting.md'),
      '## What callers are told',
    );
    const codes = rows.flatMap((row) => words(row[0]));
    expect(codes.toSorted()).toEqual(Object.keys(JOBS_ERROR_STATUS).toSorted());
  });
});
