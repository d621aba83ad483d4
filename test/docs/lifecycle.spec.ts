import { expect, it } from 'vitest';
import {
  FINAL_STATUSES,
  JOB_STATUSES,
  RETRYABLE_STATUSES,
  TRANSITIONS,
} from '../../lib/model/job-status.js';
import { OPERATIONS, type OperationEffect } from '../../lib/model/operations.js';
import { fences, readPage, tableUnder, words } from './support/pages.js';

const page = readPage('docs/lifecycle.md');

it('explains every status, once', () => {
  const [, ...rows] = tableUnder(page, '## Statuses');
  expect(rows.flatMap((row) => words(row[0]))).toEqual(JOB_STATUSES);
});

it('calls final what is final', () => {
  const rows = tableUnder(page, '## Statuses').filter((row) => row[1] === 'final');
  expect(rows.flatMap((row) => words(row[0]))).toEqual(FINAL_STATUSES);
});

it('has the table of transitions that the source has', () => {
  const [, ...rows] = tableUnder(page, '## Transitions');
  const table = Object.fromEntries(rows.map((row) => [words(row[0])[0], words(row[1])]));
  expect(table).toEqual(TRANSITIONS);
});

it('has the picture that the source has', () => {
  const picture = fences(page, 'mermaid').join('');
  const drawn = [...picture.matchAll(/^ +(\w+) --> (\w+)$/gm)].map(
    ([, from, to]) => `${from} ${to}`,
  );
  const legal = Object.entries(TRANSITIONS).flatMap(([from, tos]) =>
    tos.map((to) => `${from} ${to}`),
  );
  expect(drawn).toEqual(legal);
});

it('names the statuses that an explicit retry leaves', () => {
  const sentence = /An? explicit retry of a ([^j]+) job|explicit retry of a ([^j]+) job/.exec(page);
  expect(words(sentence?.[1] ?? sentence?.[2])).toEqual(RETRYABLE_STATUSES);
});

it('has the matrix of operations that the source has', () => {
  const [head = [], ...rows] = tableUnder(page, '## Operations');
  const columns = head
    .slice(1)
    .map((cell) => (cell === 'final' ? [...FINAL_STATUSES] : words(cell)));
  const table = Object.fromEntries(
    rows.map(([operation, ...cells]) => [
      words(operation)[0],
      Object.fromEntries(
        cells.flatMap((cell, at) =>
          (columns[at] ?? []).map((status) => [status, effect(cell, status)]),
        ),
      ),
    ]),
  );
  expect(table).toEqual(OPERATIONS);
});

function effect(cell: string, status: string): OperationEffect | undefined {
  const retried = (RETRYABLE_STATUSES as readonly string[]).includes(status)
    ? 'waiting'
    : 'refused';
  const effects: Readonly<Record<string, OperationEffect>> = {
    '=': 'same',
    '409': 'refused',
    '423': 'later',
    gone: 'gone',
    '\\*': retried,
  };
  return effects[cell] ?? (words(cell)[0] as OperationEffect | undefined);
}
