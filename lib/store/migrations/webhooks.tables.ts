import type { TableNames } from '../typeorm/table-names.js';
import { createTable, type TableSpec, type TableWords } from './table.js';

/** What happened to jobs (`JobEventEntity`). */
const EVENTS: TableSpec = {
  columns: {
    job_seq: 'number',
    sequence: 'number',
    job_id: 'id',
    at_ms: 'number',
    kind: ['word', 10],
    status: ['word', 12],
    detail: 'text',
    job: { kind: 'text', nullable: true },
  },
  key: ['job_seq', 'sequence'],
};

/** Where it is told (`JobWebhookEntity`). */
const WEBHOOKS: TableSpec = {
  columns: {
    id: 'id',
    tenant_id: { kind: ['varied', 64], nullable: true },
    url: 'text',
    events: { kind: 'text', nullable: true },
    secrets: { kind: 'text', nullable: true },
    is_declared: 'number',
    declared_at_ms: { kind: 'number', nullable: true },
    is_enabled: 'number',
    disabled_at_ms: { kind: 'number', nullable: true },
    disabled_reason: { kind: 'text', nullable: true },
    created_at_ms: 'number',
    updated_at_ms: 'number',
  },
  key: ['id'],
};

/**
 * What is on its way (`JobDeliveryEntity`). Indexes: `lane` is what is due, of each receiver by
 * itself, and holds only what is not over; `order` finds what comes before, and all of a job; `target`
 * is the history of a receiver, all of it or one status.
 */
const DELIVERIES: TableSpec = {
  columns: {
    id: 'id',
    target: 'id',
    lane: { kind: 'id', nullable: true },
    due_at_ms: { kind: 'number', nullable: true },
    job_seq: 'number',
    sequence: 'number',
    job_id: { kind: 'id', nullable: true },
    tenant_id: ['varied', 64],
    event: ['varied', 32],
    url: { kind: 'text', nullable: true },
    status: ['word', 10],
    attempts: 'number',
    lost: 'number',
    holder: { kind: 'id', nullable: true },
    lease_until_ms: { kind: 'number', nullable: true },
    created_at_ms: 'number',
    updated_at_ms: 'number',
    answer: { kind: 'text', nullable: true },
  },
  key: ['id'],
  indexes: {
    job_deliveries_lane: { columns: ['lane', 'due_at_ms'], where: 'lane IS NOT NULL' },
    job_deliveries_order: { columns: ['job_seq', 'target', 'sequence'], unique: true },
    job_deliveries_target: { columns: ['target', 'status', 'id'] },
  },
};

/** Keys that the library has made for itself, by name. */
const KEYS: TableSpec = { columns: { name: ['varied', 64], value: 'text' }, key: ['name'] };

/** The tables of events and webhooks. */
export function webhookTables(t: TableNames, words: TableWords): readonly string[] {
  return (
    [
      [t.events, EVENTS],
      [t.webhooks, WEBHOOKS],
      [t.deliveries, DELIVERIES],
      [t.keys, KEYS],
    ] as const
  ).flatMap(([name, spec]) => createTable(words, name, spec, (index) => t.index(index)));
}
