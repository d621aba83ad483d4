import path from 'node:path';
import ts from 'typescript';
import { expect, it } from 'vitest';

// After a deliberate change: npx vitest run --project nest12 test/public-api -u
it('exports what the snapshot says', { timeout: 60_000 }, async () => {
  const api = `# The public API\n\nKept by \`test/public-api.spec.ts\`.\n\n\`\`\`ts\n${publicApi()}\n\`\`\`\n`;
  await expect(api).toMatchFileSnapshot('./public-api.snapshot.md');
});

/** The declarations of every export, sorted by name, without comments and private members. */
function publicApi(): string {
  const entry = path.resolve(import.meta.dirname, '../dist/esm/index.d.ts');
  const program = ts.createProgram([entry], {
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    skipLibCheck: true,
    types: [],
  });
  const checker = program.getTypeChecker();
  const source = program.getSourceFile(entry);
  const module = source === undefined ? undefined : checker.getSymbolAtLocation(source);
  if (module === undefined) throw new Error(`${entry} exports nothing`);
  return checker
    .getExportsOfModule(module)
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((symbol) => {
      const isAlias = (symbol.flags & ts.SymbolFlags.Alias) !== 0;
      const original = isAlias ? checker.getAliasedSymbol(symbol) : symbol;
      const renamed = original.name === symbol.name ? '' : `// exported as ${symbol.name}\n`;
      return renamed + (original.declarations ?? []).map(print).join('\n');
    })
    .join('\n\n');
}

const printer = ts.createPrinter({ removeComments: true });

function print(declaration: ts.Declaration): string {
  // A variable's declaration has lost its `const`: the statement is two levels up.
  const whole = ts.isVariableDeclaration(declaration) ? declaration.parent.parent : declaration;
  const node = ts.isClassDeclaration(whole) ? withoutPrivate(whole) : whole;
  return printer
    .printNode(ts.EmitHint.Unspecified, node, declaration.getSourceFile())
    .replace(/^export (declare )?/, '');
}

function withoutPrivate(declared: ts.ClassDeclaration): ts.ClassDeclaration {
  const visible = declared.members.filter((member) => {
    const isPrivate = (ts.getCombinedModifierFlags(member) & ts.ModifierFlags.Private) !== 0;
    return !isPrivate && !(member.name !== undefined && ts.isPrivateIdentifier(member.name));
  });
  const { modifiers, name, typeParameters, heritageClauses } = declared;
  return ts.factory.updateClassDeclaration(
    declared,
    modifiers,
    name,
    typeParameters,
    heritageClauses,
    visible,
  );
}
