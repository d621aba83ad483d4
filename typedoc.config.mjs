import { OptionDefaults } from 'typedoc';

/** @type {Partial<import('typedoc').TypeDocOptions>} */
const options = {
  entryPoints: ['lib/index.ts'],
  out: 'docs/reference/api',
  tsconfig: 'tsconfig.esm.json',
  readme: 'none',
  excludePrivate: true,
  excludeInternal: true,
  disableSources: true,
  modifierTags: [...OptionDefaults.modifierTags, '@publicApi'],
  // What a public type is made of need not be public itself.
  validation: { notExported: false },
  treatWarningsAsErrors: true,
  logLevel: 'Warn',
};

export default options;
