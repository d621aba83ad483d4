import type { TableNames } from '../typeorm/table-names.js';
import type { TableSpec } from './table.js';

/** What jobs remember of their handlers, found by what each is (`store/steps.ts`). */
const STEPS: TableSpec = {
  columns: {
    job_seq: 'number',
    kind: ['word', 6],
    name: ['varied', 255],
    part: 'number',
    // 0 for a sleep or a wait that goes on.
    done: 'number',
    result: { kind: 'text', nullable: true },
    until_ms: { kind: 'number', nullable: true },
    run_id: 'id',
    at_ms: 'number',
  },
  key: ['job_seq', 'kind', 'name', 'part'],
};

/** Signals that were sent and not received, in their order. */
const SIGNALS: TableSpec = {
  columns: {
    job_seq: 'number',
    place: 'number',
    name: ['varied', 255],
    payload: 'text',
    at_ms: 'number',
  },
  key: ['job_seq', 'place'],
};

/** The tables of durable steps. */
export function stepTables(t: TableNames): readonly (readonly [string, TableSpec])[] {
  return [
    [t.steps, STEPS],
    [t.signals, SIGNALS],
  ];
}
