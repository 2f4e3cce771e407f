/**
 * The end of a message about a name that is not there: `; did you mean user_id?`, or nothing if no name is like it.
 *
 * @example `there is no field ${name}${suggest(name, ["user_id", "status"])}`
 */
export function suggest(name: string, names: Iterable<string>): string {
  const likely = [...names]
    .map((candidate) => ({ candidate, distance: distance(name.toLowerCase(), candidate.toLowerCase()) }))
    .filter(({ candidate, distance }) => distance <= Math.max(1, Math.floor(candidate.length / 3)))
    .sort((left, right) => left.distance - right.distance);
  return likely[0] === undefined ? "" : `; did you mean ${likely[0].candidate}?`;
}

/** How many letters must be put in, left out or replaced to make one name of the other. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const replaced = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
