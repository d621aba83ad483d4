import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';

/** A table of the host's own, for transactions that both sides write in. */
@Entity({ name: 'host_notes' })
export class Note {
  @PrimaryGeneratedColumn()
  id: number;

  @Column({ type: 'text' })
  text: string;
}
