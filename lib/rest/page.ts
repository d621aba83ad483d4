import { invalid } from './invalid.js';
import { pageOf, type PageQuery } from './wire/requests.js';

/** A list that is held whole in memory, ordered by the name of its items. */
export interface NamedList<T> {
  /** Under which member the items are answered. */
  readonly member: string;
  /** Which field is the name, as `order` says it. */
  readonly order: string;
  readonly items: readonly T[];
  nameOf(item: T): string;
  toWire(item: T): object;
}

/** One page of it, in the envelope that all lists share. */
export function pageOfNamed<T>(list: NamedList<T>, query: PageQuery): object {
  const { shown, envelope } = cutPage(list, query);
  return { ...envelope, [list.member]: shown.map((item) => list.toWire(item)) };
}

/** The same of a list of which only the names are held: what the page shows is read then. */
export async function pageOfNames(
  list: Pick<NamedList<string>, 'member' | 'order'> & { readonly names: readonly string[] },
  query: PageQuery,
  read: (names: readonly string[]) => Promise<readonly object[]>,
): Promise<object> {
  const named = { ...list, items: list.names, nameOf: (name: string) => name };
  const { shown, envelope } = cutPage(named, query);
  return { ...envelope, [list.member]: await read(shown) };
}

function cutPage<T>(
  list: Omit<NamedList<T>, 'toWire'>,
  query: PageQuery,
): { readonly shown: readonly T[]; readonly envelope: object } {
  const { page, limit } = pageOf(query);
  const sorted = list.items.toSorted((a, b) => (list.nameOf(a) < list.nameOf(b) ? -1 : 1));
  const from = query.cursor === undefined ? (page - 1) * limit : after(sorted, list, query.cursor);
  const shown = sorted.slice(from, from + limit);
  const last = shown.at(-1);
  const hasMore = last !== undefined && from + shown.length < sorted.length;
  const envelope = {
    page,
    limit,
    total: sorted.length,
    total_is_exact: true,
    order: list.order,
    next_cursor: hasMore ? Buffer.from(list.nameOf(last)).toString('base64url') : null,
  };
  return { shown, envelope };
}

/** The place of the first item after the one that the cursor names. */
function after<T>(
  sorted: readonly T[],
  list: Pick<NamedList<T>, 'nameOf'>,
  cursor: string,
): number {
  if (!/^[\w-]+$/.test(cursor)) {
    throw invalid('query', [{ field: 'cursor', message: 'is not one that this list gave' }]);
  }
  const name = Buffer.from(cursor, 'base64url').toString();
  const place = sorted.findIndex((item) => list.nameOf(item) > name);
  return place === -1 ? sorted.length : place;
}
