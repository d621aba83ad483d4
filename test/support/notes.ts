import { TypeOrmModule } from '@nestjs/typeorm';
import { Column, Entity, PrimaryGeneratedColumn } from 'typeorm';
import { expect } from 'vitest';
import { bootJobs, type Boot, type BootedJobs } from './boot.js';

/** A table of the host's own, for transactions that both sides write in. */
@Entity({ name: 'host_notes' })
export class Note {
  @PrimaryGeneratedColumn()
  id: number;

  @Column({ type: 'text' })
  text: string;
}

/** Thrown to roll a transaction back. */
export class RollBack extends Error {}

/** A host that has notes of its own beside the library. */
export function bootWithNotes(boot: Boot): Promise<BootedJobs> {
  return bootJobs({
    ...boot,
    imports: [TypeOrmModule.forFeature([Note])],
    typeorm: { synchronize: true },
  });
}

export function countNotes(app: BootedJobs): Promise<number> {
  return app.dataSource.getRepository(Note).count();
}

/** The work, a transaction, is rolled back by a {@link RollBack}. */
export async function rolledBack(work: Promise<unknown>): Promise<void> {
  await expect(work).rejects.toBeInstanceOf(RollBack);
}
