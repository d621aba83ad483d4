import { Column, Entity, PrimaryColumn } from 'typeorm';
import { instant } from './columns.js';

/** Where to tell what happens to jobs. */
@Entity({ name: 'job_webhooks', synchronize: false })
export class JobWebhookEntity {
  @PrimaryColumn({ name: 'id', type: 'text' })
  id: string;

  /** Whose jobs; null for those of all tenants, as the options declare. */
  @Column({ name: 'tenant_id', type: 'text', nullable: true })
  tenantId: string | null;

  @Column({ name: 'url', type: 'text' })
  url: string;

  /** JSON text: the types of events, or null for all. */
  @Column({ name: 'events', type: 'text', nullable: true })
  events: string | null;

  /** Encrypted; null where the options have them. */
  @Column({ name: 'secrets', type: 'text', nullable: true })
  secrets: string | null;

  @Column({ name: 'is_declared', type: 'integer' })
  isDeclared: number;

  /** When a process last said that its options declare it. */
  @Column(instant('declared_at_ms', true))
  declaredAtMs: number | null;

  @Column({ name: 'is_enabled', type: 'integer' })
  isEnabled: number;

  @Column(instant('disabled_at_ms', true))
  disabledAtMs: number | null;

  @Column({ name: 'disabled_reason', type: 'text', nullable: true })
  disabledReason: string | null;

  @Column(instant('created_at_ms'))
  createdAtMs: number;

  /** Grows with each change: what began before one does not disable it. */
  @Column(instant('updated_at_ms'))
  updatedAtMs: number;
}
