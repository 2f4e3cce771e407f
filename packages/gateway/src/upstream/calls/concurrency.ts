/** How many calls are in flight at once. */
export interface ConcurrencyLimit {
  /** Takes a place, if one is free. */
  enter(): boolean;
  /** Gives it back. */
  leave(): void;
  inFlight(): number;
  /** How many calls found no place, since the start. */
  refused(): number;
}

/** Creates a limit. Nothing waits for a place: a queue in front of a slow service only makes it slower. */
export function createConcurrencyLimit(most: number): ConcurrencyLimit {
  let inFlight = 0;
  let refused = 0;
  return {
    enter() {
      if (inFlight >= most) {
        refused += 1;
        return false;
      }
      inFlight += 1;
      return true;
    },
    leave() {
      inFlight -= 1;
    },
    inFlight: () => inFlight,
    refused: () => refused,
  };
}
