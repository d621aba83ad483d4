import { expect, it } from 'vitest';
import { JOBS_ERROR_STATUS } from '../../lib/model/errors.js';
import { readPage, words } from './support/pages.js';

it('has every code with its HTTP status, in the order of the source', () => {
  const rows = readPage('docs/guide/errors.md')
    .split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) => line.split('|').map((cell) => cell.trim()));
  const table = rows.map((cells) => [words(cells[1])[0], Number(cells[2])]);
  expect(table).toEqual(Object.entries(JOBS_ERROR_STATUS));
});
