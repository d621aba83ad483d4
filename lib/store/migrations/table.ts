/** Of what kind a column is; a number says how many characters a text may have at most. */
export type ColumnKind =
  'id' | 'number' | 'real' | 'text' | readonly ['varied', number] | readonly ['word', number];

/** A column; `null` behind its kind: it may be empty. */
export type ColumnSpec = ColumnKind | { readonly kind: ColumnKind; readonly nullable: true };

/** A table as every database has it. */
export interface TableSpec {
  readonly columns: Readonly<Record<string, ColumnSpec>>;
  readonly key: readonly string[];
  /** Name → columns, and of which rows, where a database has partial indexes. */
  readonly indexes?: Readonly<Record<string, IndexSpec>>;
}

/** An index of a table. */
export interface IndexSpec {
  readonly columns: readonly string[];
  readonly unique?: boolean;
  /** Only rows that meet it; a database without partial indexes holds them all. */
  readonly where?: string;
}

/** How a database says what a table is. */
export interface TableWords {
  kind(kind: ColumnKind): string;
  /** Behind the closing parenthesis of a table. */
  readonly behind: string;
  /** How a column says that its number is the number of the row, where rows have one anyway. */
  readonly rowNumber?: string;
  /** Whether indexes stand inside CREATE TABLE, which alone can be repeated. */
  readonly indexesInside: boolean;
}

/** Tables of SQLite. */
export const SQLITE_TABLES: TableWords = {
  kind: (kind) => (kind === 'number' ? 'BIGINT' : kind === 'real' ? 'REAL' : 'TEXT'),
  behind: ' WITHOUT ROWID',
  rowNumber: 'INTEGER PRIMARY KEY',
  indexesInside: false,
};

/** Tables of PostgreSQL. */
export const POSTGRES_TABLES: TableWords = {
  kind: (kind) =>
    kind === 'number' ? 'BIGINT' : kind === 'real' ? 'DOUBLE PRECISION' : 'TEXT COLLATE "C"',
  behind: '',
  indexesInside: false,
};

/** Tables of MySQL and MariaDB, under the collation that compares by code point. */
export function mysqlTables(collation: string): TableWords {
  const word = (length: number): string => `CHAR(${length}) CHARACTER SET ascii COLLATE ascii_bin`;
  return {
    kind(kind) {
      if (typeof kind === 'object') {
        return kind[0] === 'word' ? word(kind[1]) : `VARCHAR(${kind[1]})`;
      }
      return { id: word(36), number: 'BIGINT', real: 'DOUBLE', text: 'LONGTEXT' }[kind];
    },
    behind: ` ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE ${collation}`,
    indexesInside: true,
  };
}

/** What makes a table; `index` gives the quoted names of its indexes. */
export function createTable(
  words: TableWords,
  name: string,
  spec: TableSpec,
  index: (name: string) => string,
): readonly string[] {
  const [key] = spec.key;
  const { rowNumber } = words;
  // What comes last is put behind the rest; without row numbers neighbours would be shared out anew.
  const isByNumber =
    rowNumber !== undefined && spec.key.length === 1 && spec.columns[key ?? ''] === 'number';
  const columns = Object.entries(spec.columns).map(([column, of]) => {
    if (isByNumber && column === key) {
      return `${column} ${rowNumber}`;
    }
    const isNullable = typeof of === 'object' && 'nullable' in of;
    return `${column} ${words.kind(isNullable ? of.kind : of)}${isNullable ? '' : ' NOT NULL'}`;
  });
  const indexes = Object.entries(spec.indexes ?? {});
  const inside = words.indexesInside
    ? indexes.map(
        ([key, of]) =>
          `${of.unique === true ? 'UNIQUE ' : ''}INDEX ${index(key)} (${of.columns.join(', ')})`,
      )
    : [];
  const lines = [
    ...columns,
    ...(isByNumber ? [] : [`PRIMARY KEY (${spec.key.join(', ')})`]),
    ...inside,
  ];
  return [
    `CREATE TABLE ${words.indexesInside ? 'IF NOT EXISTS ' : ''}${name} (\n      ${lines.join(',\n      ')}\n    )${isByNumber ? '' : words.behind}`,
    ...(words.indexesInside
      ? []
      : indexes.map(
          ([key, of]) =>
            `CREATE ${of.unique === true ? 'UNIQUE ' : ''}INDEX ${index(key)} ON ${name} (${of.columns.join(', ')})${of.where === undefined ? '' : ` WHERE ${of.where}`}`,
        )),
  ];
}
