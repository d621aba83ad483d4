import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';

interface Rule {
  /** May be imported: layers of ours (keys of this table), packages, `node` for all of Node. */
  readonly may: readonly string[];
  /** May be imported for its types only. */
  readonly types?: readonly string[];
}

const sql = [
  'node',
  'model',
  'entities',
  'store/store.ts',
  'store/claims.ts',
  'store/webhooks.ts',
  'store/job-of-draft.ts',
  'store/write-batch.ts',
  'store/write-queue.ts',
  'store/writer.ts',
  'typeorm',
];
/** What the verbs of a store are given and give. */
const words = ['claims', 'drafts', 'changes', 'history', 'catalog', 'steps', 'schedules'].map(
  (it) => `store/${it}.ts`,
);
const http = ['@nestjs/common', '@nestjs/core'];
const nest = [...http, '@nestjs/typeorm', 'typeorm', 'rxjs'];
const below = ['node', 'model', 'entities', 'params', 'logs', 'store/store.ts', 'store/typeorm'];
const own = ['jobs.', 'jobs.module.ts', 'jobs.options.ts', 'jobs.tokens.ts', 'version.ts'];
const root = [...nest, ...below, ...own, 'engine', 'webhooks', 'decorators', 'services'];
const validation = ['class-validator', 'class-transformer'];

/** Who may import whom. A file's layer is the longest key its path starts with; itself is always allowed. */
const layers: Readonly<Record<string, Rule>> = {
  model: { may: ['node', 'croner'], types: ['rxjs'] },
  entities: { may: ['model', 'typeorm'] },
  params: { may: ['node', 'model', 'ajv', 'ajv-formats', ...validation] },
  logs: { may: ['node', 'model', 'rotating-file-stream'] },
  'store/store.ts': {
    may: [],
    types: ['entities', 'model', ...words, 'store/webhooks.ts', 'store/transaction.ts'],
  },
  'store/claims.ts': { may: [], types: ['entities', 'model', 'store/changes.ts'] },
  'store/drafts.ts': { may: [], types: ['entities', 'model', 'store/changes.ts'] },
  'store/changes.ts': { may: [], types: ['entities', 'model', 'store/steps.ts'] },
  'store/history.ts': { may: [], types: ['entities'] },
  'store/steps.ts': { may: [] },
  'store/catalog.ts': { may: [], types: ['entities', 'store/claims.ts'] },
  'store/schedules.ts': { may: [], types: ['entities', 'store/drafts.ts'] },
  'store/webhooks.ts': { may: [], types: ['entities'] },
  'store/transaction.ts': { may: [], types: ['entities', ...words] },
  'store/job-of-draft.ts': { may: ['entities', 'model'], types: ['store/store.ts'] },
  'store/write-batch.ts': { may: ['store/dialects'] },
  'store/held-work.ts': { may: ['node', 'store/write-batch.ts'] },
  'store/write-queue.ts': { may: ['store/held-work.ts', 'store/write-batch.ts'] },
  'store/writer.ts': {
    may: ['node', 'model', 'store/dialects', 'store/write-batch.ts', 'store/write-queue.ts'],
    types: ['store/store.ts'],
  },
  'store/dialects': { may: [...sql, 'store/typeorm'] },
  'store/migrations': { may: [...sql, 'store/dialects', 'store/typeorm'] },
  'store/typeorm': { may: [...sql, 'store/dialects', 'store/migrations'] },
  engine: {
    may: ['node', 'model', 'rxjs', 'store/job-of-draft.ts'],
    types: ['store/store.ts', 'entities', 'params'],
  },
  webhooks: {
    may: ['node', 'model', 'engine', 'entities', 'store/webhooks.ts'],
  },
  'jobs.options.ts': { may: ['model'], types: ['@nestjs/common', 'webhooks'] },
  'jobs.tokens.ts': { may: ['model'] },
  decorators: { may: ['model', 'jobs.tokens.ts', '@nestjs/common'] },
  services: {
    may: ['node', 'model', 'engine', 'jobs.tokens.ts', 'rxjs', '@nestjs/common'],
    // typeorm: the caller's EntityManager, passed through.
    types: ['store/store.ts', 'entities', 'params', 'webhooks', 'jobs.options.ts', 'typeorm'],
  },
  rest: {
    may: ['node', 'model', 'services', 'jobs.tokens.ts', 'ajv', 'rxjs', ...http],
    types: ['entities', 'jobs.options.ts'],
  },
  'jobs.module.ts': { may: [...root, 'rest'] },
  'jobs.': { may: root },
  'version.ts': { may: [] },
  'index.ts': { may: ['model', 'entities', 'decorators', 'engine', 'services', ...own] },
};

/** Loaded by `import()` where they are needed: a static import, even of a type, would require them. */
const optional = ['@nestjs/swagger', '@nestjs/schedule', 'better-sqlite3', 'sqlite3'];

interface Import {
  /** A file below lib/, a package's name, or `node`. */
  readonly to: string;
  readonly how: 'value' | 'type' | 'dynamic';
}

const lib = path.resolve(import.meta.dirname, '../lib');
const files = readdirSync(lib, { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.ts'))
  .map((file) => file.replaceAll(path.sep, '/'));
const imports = new Map(files.map((file) => [file, importsOf(file)]));

it('has a layer for every file', () => {
  expect(files.filter((file) => layerOf(file) === undefined)).toEqual([]);
});

it('imports only what its layer may', () => {
  expect(files.flatMap((file) => violationsOf(file))).toEqual([]);
});

it('names only files that exist', () => {
  const all = files.flatMap((file) => (imports.get(file) ?? []).map(({ to }) => ({ file, to })));
  const lost = all.filter(({ to }) => to.endsWith('.ts') && !existsSync(path.join(lib, to)));
  expect(lost.map(({ file, to }) => `${file} → ${to}`)).toEqual([]);
});

it('has no cycle of imports, types included', () => {
  expect(cycles()).toEqual([]);
});

function violationsOf(file: string): string[] {
  const own = layerOf(file);
  const rule = own === undefined ? undefined : layers[own];
  if (rule === undefined) return [];
  return (imports.get(file) ?? []).flatMap(({ to, how }) => {
    if (optional.includes(to))
      return how === 'dynamic' ? [] : [`${file} → ${to} (optional package)`];
    const target = to.endsWith('.ts') ? layerOf(to) : to;
    if (target === undefined || target === own || rule.may.includes(target)) return [];
    if (rule.types?.includes(target) !== true) return [`${file} → ${to}`];
    return how === 'type' ? [] : [`${file} → ${to} (types only)`];
  });
}

function layerOf(file: string): string | undefined {
  const fits = Object.keys(layers).filter((key) => file === key || file.startsWith(slashed(key)));
  return fits.toSorted((a, b) => b.length - a.length)[0];
}

function slashed(key: string): string {
  return key.endsWith('.') || key.endsWith('.ts') ? key : `${key}/`;
}

function importsOf(file: string): Import[] {
  const text = readFileSync(path.join(lib, file), 'utf8');
  const found: Import[] = [];
  const add = (specifier: ts.Node | undefined, how: Import['how']): void => {
    if (specifier !== undefined && ts.isStringLiteral(specifier)) {
      found.push({ to: target(file, specifier.text), how });
    }
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) {
      add(node.moduleSpecifier, isTypeOnly(node.importClause) ? 'type' : 'value');
    } else if (ts.isExportDeclaration(node)) {
      add(node.moduleSpecifier, node.isTypeOnly ? 'type' : 'value');
    } else if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) {
      add(node.argument.literal, 'type');
    } else if (ts.isCallExpression(node) && isLoad(node.expression)) {
      add(node.arguments[0], 'dynamic');
    }
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest));
  return found;
}

function isTypeOnly(clause: ts.ImportClause | undefined): boolean {
  if (clause === undefined) return false;
  if (clause.phaseModifier === ts.SyntaxKind.TypeKeyword) return true;
  const named = clause.namedBindings;
  if (clause.name !== undefined || named === undefined || !ts.isNamedImports(named)) return false;
  return named.elements.every((element) => element.isTypeOnly);
}

function isLoad(called: ts.Expression): boolean {
  const isRequire = ts.isIdentifier(called) && called.text === 'require';
  return isRequire || called.kind === ts.SyntaxKind.ImportKeyword;
}

function target(file: string, specifier: string): string {
  if (specifier.startsWith('.')) {
    return path.posix.join(path.posix.dirname(file), specifier).replace(/\.js$/, '.ts');
  }
  if (specifier.startsWith('node:')) return 'node';
  return specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/');
}

function cycles(): string[] {
  const done = new Set<string>();
  const found: string[] = [];
  const walk = (file: string, trail: readonly string[]): void => {
    const start = trail.indexOf(file);
    if (start !== -1) found.push([...trail.slice(start), file].join(' → '));
    if (start !== -1 || done.has(file)) return;
    for (const { to } of imports.get(file) ?? []) walk(to, [...trail, file]);
    done.add(file);
  };
  for (const file of files) walk(file, []);
  return found;
}
