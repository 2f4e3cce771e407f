/**
 * Rows that exist from the start, made when somebody asks for them, and after them the rows that were added.
 * Row 0 has the id `<prefix>-1`.
 */
export interface Table<T> {
  /** How many rows there are. */
  size(): number;
  /** The row at an index. Throws a RangeError outside 0 to `size() - 1`. */
  at(index: number): T;
  /** The row with an id, if there is one. */
  find(id: string): T | undefined;
  /** The rows with these ids, each once; ids without a row are left out. */
  findAll(ids: readonly string[]): T[];
  /** Adds the row that `make` returns for its new index and id. */
  add(make: (index: number, id: string) => T): T;
}

/** What a table starts with. */
interface TableOptions<T> {
  /** What ids begin with, such as `"user"`. */
  prefix: string;
  /** How many rows exist from the start. */
  seeded: number;
  /** Makes a seeded row; must be a pure function of the index. */
  row: (index: number, id: string) => T;
}

/** Makes a table. Rows are shared between callers: do not change them. */
export function createTable<T>({ prefix, seeded, row }: TableOptions<T>): Table<T> {
  const added: T[] = [];
  const made = new Map<number, T>();
  const size = () => seeded + added.length;

  function at(index: number): T {
    if (!Number.isInteger(index) || index < 0 || index >= size()) {
      throw new RangeError(`there is no ${prefix} at index ${index}`);
    }
    return added[index - seeded] ?? remember(index);
  }

  function remember(index: number): T {
    const known = made.get(index);
    if (known !== undefined) return known;
    if (made.size >= maxRemembered) made.clear();
    const fresh = row(index, idAt(prefix, index));
    made.set(index, fresh);
    return fresh;
  }

  function find(id: string): T | undefined {
    const index = indexOfId(prefix, id);
    return index !== undefined && index < size() ? at(index) : undefined;
  }

  return {
    size,
    at,
    find,
    findAll: (ids) => [...new Set(ids)].map(find).filter((found) => found !== undefined),
    add(make) {
      const index = size();
      const fresh = make(index, idAt(prefix, index));
      added.push(fresh);
      return fresh;
    },
  };
}

/** The id of the row at an index: `user-1` for the first user. */
export function idAt(prefix: string, index: number): string {
  return `${prefix}-${index + 1}`;
}

/** The index that an id stands for, whether or not there is such a row; undefined if it is no such id. */
export function indexOfId(prefix: string, id: string): number | undefined {
  if (!id.startsWith(`${prefix}-`)) return undefined;
  const digits = id.slice(prefix.length + 1);
  return /^[1-9]\d{0,8}$/.test(digits) ? Number(digits) - 1 : undefined;
}

// Making a message costs microseconds, which adds up in a benchmark. This many keep the demo's data and bound the rest.
const maxRemembered = 20_000;
