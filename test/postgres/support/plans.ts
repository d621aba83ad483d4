import type { DataSource, QueryRunner } from 'typeorm';
import { BY_INDEX, searching, settings } from '../../../lib/store/dialects/postgres/words.js';
import type { Script, Statement } from '../../../lib/store/dialects/sql.js';
import { closeLater } from '../../support/cleanup.js';

/** How the server goes about a statement. */
export interface Plan {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Index Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
  readonly Plans?: readonly Plan[];
}

/** Sessions of the host that are set as the engine's are, for as long as the file's tests run. */
export async function sessionsOf(
  host: DataSource,
): Promise<{ readonly writing: QueryRunner; readonly reading: QueryRunner }> {
  const [writing, reading] = [host.createQueryRunner(), host.createQueryRunner()];
  closeLater(() => writing.release(), 'file');
  closeLater(() => reading.release(), 'file');
  await writing.query(`${settings(1000)}; ${BY_INDEX}`);
  await reading.query(searching(1000));
  return { writing, reading };
}

/** The first statement of a script. */
export function firstOf(script: Script<unknown>): Statement {
  const step = script.next();
  if (step.done === true) {
    throw new Error('The script has no statement.');
  }
  return step.value;
}

/** A value as text of SQL. */
export const quoted = (value: Statement['params'][number]): string =>
  value === null ? 'NULL' : `'${String(value).replaceAll("'", "''")}'`;

/** How the server goes about a statement, as prepared as ours are; what it changes is taken back. */
export async function planOf(runner: QueryRunner, { sql, params }: Statement): Promise<Plan> {
  let n = 0;
  await runner.startTransaction();
  try {
    await runner.query(`PREPARE it AS ${sql.replaceAll('?', () => `$${(n += 1)}`)}`);
    const values = params.length === 0 ? '' : `(${params.map(quoted).join(', ')})`;
    const execute = `EXECUTE it ${values}`;
    const rows = (await runner.query(`EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) ${execute}`)) as {
      'QUERY PLAN': { Plan: Plan }[];
    }[];
    return (rows[0] as (typeof rows)[number])['QUERY PLAN'][0]?.Plan as Plan;
  } finally {
    await runner.rollbackTransaction();
    await runner.query('DEALLOCATE ALL');
  }
}

/** A plan and all below it. */
export function nodes(plan: Plan): readonly Plan[] {
  return [plan, ...(plan.Plans ?? []).flatMap(nodes)];
}

/** The pages that it looked at. */
export const blocks = (plan: Plan): number =>
  plan['Shared Hit Blocks'] + plan['Shared Read Blocks'];
