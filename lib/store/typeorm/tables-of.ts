import { getMetadataArgsStorage, type DataSource } from 'typeorm';
import { JOBS_ENTITIES } from '../../entities/index.js';
import { tableNames, type SqlWords, type TableNames } from './table-names.js';

/** The name of a table → the class of its entity, which naming strategies are given too. */
const CLASSES = new Map(
  JOBS_ENTITIES.map((entity) => {
    const table = getMetadataArgsStorage().tables.find(({ target }) => target === entity);
    return [table?.name, entity.name];
  }),
);

/** The tables of a data source, by the names that TypeORM gives them for the entities. */
export function tablesOf(host: DataSource, words?: SqlWords): TableNames {
  const { type, entityPrefix, schema }: PlaceOptions = host.options;
  const { namingStrategy } = host;
  const named = (name: string): string => {
    const own = namingStrategy.tableName(CLASSES.get(name) ?? name, name);
    return entityPrefix === undefined || entityPrefix === ''
      ? own
      : namingStrategy.prefixTableName(entityPrefix, own);
  };
  return tableNames(named, type === 'postgres' ? schema : undefined, words);
}

interface PlaceOptions {
  readonly type: string;
  readonly entityPrefix?: string;
  readonly schema?: string;
}
