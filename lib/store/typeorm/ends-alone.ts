import { CONCERNS_OTHERS, EXTRA } from '../../model/extras.js';
import { nobodyWaitsSql } from '../dialects/sqlite/dependents.js';
import type { TableNames } from './table-names.js';

/** The end of a run concerns nobody else, so that many can be ended at once. */
export function endsAlone(extras = 'extras', bits = CONCERNS_OTHERS): string {
  return `(${extras} IS NULL OR ${extras} & ${bits} = 0)`;
}

/** The same of rows as they are written, which may not say that others wait. */
export function rowEndsAlone(t: TableNames, bits = CONCERNS_OTHERS): string {
  const alone = endsAlone(`${t.rows}.extras`, bits);
  return t.words.marksParents || (bits & EXTRA.dependents) === 0
    ? alone
    : `${alone} AND ${nobodyWaitsSql(t, t.rows)}`;
}
