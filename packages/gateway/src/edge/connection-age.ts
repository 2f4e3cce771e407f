/**
 * Milliseconds after which one connection has reached its age: within a tenth of what all are given, so that those that
 * began together do not come back together.
 *
 * @param random from 0 to 1
 */
export function ageOfOne(ageMs: number, random: () => number = Math.random): number {
  return Math.round(ageMs * (0.9 + 0.2 * random()));
}
