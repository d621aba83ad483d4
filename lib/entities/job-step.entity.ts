import { Column, Entity, PrimaryColumn } from 'typeorm';
import { instant } from './columns.js';

/** What a job remembers of its handler: a step that is done, a sleep, a wait for a signal. */
@Entity({ name: 'job_steps', synchronize: false })
export class JobStepEntity {
  /** The job's row number. */
  @PrimaryColumn({ name: 'job_seq', type: 'integer' })
  jobSeq: number;

  /** `write` is a transaction inside a step that is not done. */
  @PrimaryColumn({ name: 'kind', type: 'text' })
  kind: 'step' | 'write' | 'sleep' | 'signal';

  /** Of the step or the signal; empty for a sleep. */
  @PrimaryColumn({ name: 'name', type: 'text' })
  name: string;

  /** Which of that kind and name it is; 0 for a step. */
  @PrimaryColumn({ name: 'part', type: 'integer' })
  part: number;

  /** 0 for a sleep or a wait that goes on. */
  @Column({ name: 'done', type: 'integer' })
  done: number;

  /** JSON text; null for undefined. */
  @Column({ name: 'result', type: 'text', nullable: true })
  result: string | null;

  /** The end of a sleep, or of a wait that has one. */
  @Column(instant('until_ms', true))
  untilMs: number | null;

  /** The run that wrote it. */
  @Column({ name: 'run_id', type: 'text' })
  runId: string;

  @Column(instant('at_ms'))
  atMs: number;
}
