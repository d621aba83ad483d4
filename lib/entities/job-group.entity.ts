import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A named set of job types, and their queue. */
@Entity({ name: 'job_groups', synchronize: false })
export class JobGroupEntity {
  @PrimaryColumn({ name: 'name', type: 'text' })
  name: string;

  @Column({ name: 'queue_name', type: 'text' })
  queueName: string;

  @Column({ name: 'description', type: 'text' })
  description: string;
}
