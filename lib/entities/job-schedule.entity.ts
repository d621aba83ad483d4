import { Column, Entity, PrimaryColumn } from 'typeorm';
import type { ScheduleMisfire, ScheduleOverlap } from '../model/schedule.js';
import { instant } from './columns.js';

/** A timetable that makes jobs, as somebody wrote it; where it stands is in `job_schedule_times`. */
@Entity({ name: 'job_schedules', synchronize: false })
export class JobScheduleEntity {
  @PrimaryColumn({ name: 'schedule_id', type: 'text' })
  id: string;

  @Column({ name: 'tenant_id', type: 'text' })
  tenantId: string;

  /** Unique in its tenant. */
  @Column({ name: 'name', type: 'text' })
  name: string;

  @Column({ name: 'user_id', type: 'text', nullable: true })
  userId: string | null;

  @Column({ name: 'type', type: 'text' })
  type: string;

  /** JSON text. */
  @Column({ name: 'params', type: 'text' })
  params: string;

  @Column({ name: 'cron', type: 'text', nullable: true })
  cron: string | null;

  @Column({ name: 'time_zone', type: 'text', nullable: true })
  timeZone: string | null;

  @Column(instant('every_ms', true))
  everyMs: number | null;

  @Column(instant('after_ms', true))
  afterMs: number | null;

  /** The first slot of a fixed rate, and of what waits for the end of runs. */
  @Column(instant('first_ms', true))
  firstMs: number | null;

  @Column(instant('start_at_ms', true))
  startAtMs: number | null;

  @Column(instant('end_at_ms', true))
  endAtMs: number | null;

  @Column({ name: 'overlap', type: 'text' })
  overlap: ScheduleOverlap;

  @Column({ name: 'misfire', type: 'text' })
  misfire: ScheduleMisfire;

  @Column({ name: 'paused', type: 'integer' })
  paused: number;

  /** JSON text of what its jobs are enqueued with. */
  @Column({ name: 'options', type: 'text' })
  options: string;

  /** A digest of what the code says that declares it. */
  @Column({ name: 'declared', type: 'text', nullable: true })
  declared: string | null;

  @Column(instant('created_at_ms'))
  createdAtMs: number;

  @Column(instant('updated_at_ms'))
  updatedAtMs: number;
}
