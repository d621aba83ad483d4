import { Column, Entity, PrimaryColumn } from 'typeorm';
import { instant } from './columns.js';

/** An event on its way to one receiver. */
@Entity({ name: 'job_deliveries', synchronize: false })
export class JobDeliveryEntity {
  /** The `webhook-id` of every try. */
  @PrimaryColumn({ name: 'id', type: 'text' })
  id: string;

  /** The id of the endpoint, or `status_hook` for the job's own. */
  @Column({ name: 'target', type: 'text' })
  target: string;

  /**
   * What it waits in: one for each endpoint, and each host of status hooks. Null when it is over. What waits
   * for an endpoint that is disabled stays where it is: nobody looks into that lane.
   */
  @Column({ name: 'lane', type: 'text', nullable: true })
  lane: string | null;

  @Column(instant('due_at_ms', true))
  dueAtMs: number | null;

  @Column({ name: 'job_seq', type: 'bigint' })
  jobSeq: number;

  @Column({ name: 'sequence', type: 'bigint' })
  sequence: number;

  @Column({ name: 'job_id', type: 'text', nullable: true })
  jobId: string | null;

  @Column({ name: 'tenant_id', type: 'text' })
  tenantId: string;

  /** Its type, such as `job.completed`. */
  @Column({ name: 'event', type: 'text' })
  event: string;

  /** Of a status hook. */
  @Column({ name: 'url', type: 'text', nullable: true })
  url: string | null;

  @Column({ name: 'status', type: 'text' })
  status: 'pending' | 'delivered' | 'failed';

  /** Tries of which the outcome is known, and the present one. */
  @Column({ name: 'attempts', type: 'integer' })
  attempts: number;

  /** How often, since the last outcome, whoever sent it was not heard of again. */
  @Column({ name: 'lost', type: 'integer' })
  lost: number;

  /** By whom it is sent now, a name of each taking, and until when nobody else does. */
  @Column({ name: 'holder', type: 'text', nullable: true })
  holder: string | null;

  @Column(instant('lease_until_ms', true))
  leaseUntilMs: number | null;

  @Column(instant('created_at_ms'))
  createdAtMs: number;

  @Column(instant('updated_at_ms'))
  updatedAtMs: number;

  /** JSON text: what came back at the last try. */
  @Column({ name: 'answer', type: 'text', nullable: true })
  answer: string | null;
}
