import type { Endpoint } from "./endpoint.ts";

/** Chooses among the addresses that are usable. */
export type Balancer = (usable: readonly Endpoint[]) => Endpoint | undefined;

/**
 * The one with fewer calls of two random ones: nearly as even as the least of all, without everybody running to the same
 * one. With as many calls on both, the one that was chosen longer ago.
 *
 * @param random from 0 to 1
 */
export function createBalancer(random: () => number = Math.random): Balancer {
  const chosenAt = new WeakMap<Endpoint, number>();
  let turn = 0;

  function better(one: Endpoint, other: Endpoint): Endpoint {
    const difference = one.inFlight() - other.inFlight();
    if (difference !== 0) return difference < 0 ? one : other;
    return (chosenAt.get(one) ?? 0) <= (chosenAt.get(other) ?? 0) ? one : other;
  }

  return (usable) => {
    const first = Math.floor(random() * usable.length);
    const second = (first + 1 + Math.floor(random() * (usable.length - 1))) % usable.length;
    const [one, other] = [usable[first], usable[second]];
    if (one === undefined || other === undefined) return one;
    const chosen = better(one, other);
    turn += 1;
    chosenAt.set(chosen, turn);
    return chosen;
  };
}
