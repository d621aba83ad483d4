import type { ColumnOptions } from 'typeorm';

/** A column of Unix milliseconds; drivers that give big integers as text are read as numbers. */
export function instant(name: string, nullable = false): ColumnOptions {
  return {
    name,
    type: 'bigint',
    nullable,
    transformer: {
      from: (stored: string | number | null) => (stored === null ? null : Number(stored)),
      to: (value: number | null) => value,
    },
  };
}
