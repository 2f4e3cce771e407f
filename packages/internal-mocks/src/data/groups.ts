/** Answers the indices of the rows of a group, rising. */
type Groups = (group: number) => Uint32Array;

/**
 * Sorts `size` rows into groups numbered from 0 to `groups - 1`. The work is done at the first question, in two
 * passes over the rows; after that a question costs nothing. A group that is not there has no rows.
 */
export function createGroups(size: number, groups: number, groupOf: (index: number) => number): Groups {
  let sorted: { starts: Uint32Array; rows: Uint32Array } | undefined;
  return (group) => {
    sorted ??= sortByGroup(size, groups, groupOf);
    const { starts, rows } = sorted;
    return group < groups ? rows.subarray(starts[group], starts[group + 1]) : rows.subarray(0, 0);
  };
}

// A counting sort: two flat arrays instead of a million small ones.
function sortByGroup(size: number, groups: number, groupOf: (index: number) => number) {
  const starts = new Uint32Array(groups + 1);
  for (let index = 0; index < size; index++) increment(starts, groupOf(index) + 1);
  for (let group = 0; group < groups; group++)
    starts[group + 1] = count(starts, group + 1) + count(starts, group);
  const next = starts.slice();
  const rows = new Uint32Array(size);
  for (let index = 0; index < size; index++) rows[increment(next, groupOf(index))] = index;
  return { starts, rows };
}

function increment(counts: Uint32Array, at: number): number {
  const before = count(counts, at);
  counts[at] = before + 1;
  return before;
}

function count(counts: Uint32Array, at: number): number {
  return counts[at] ?? 0;
}
