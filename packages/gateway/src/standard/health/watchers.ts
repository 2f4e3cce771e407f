import { PublicError } from "../../errors.ts";
import { addressKey } from "../../policy/limits/address-key.ts";

/** The seats of those who watch: a stream that may wait for a long time has to have one. */
export interface Watchers {
  /**
   * Takes a seat, until the function that it returns is called.
   *
   * Errors: `resource_exhausted` when all seats are taken, or all that one address may have.
   */
  readonly enter: (address: string) => () => void;
}

/** How many may watch at a time. */
export interface WatcherLimits {
  readonly inAll: number;
  /** From one address, or one network of IPv6, so that nobody alone can keep all others out. */
  readonly perAddress: number;
}

/** When somebody who finds no seat may try again, in milliseconds. */
const retryAfterMs = 10_000;

/** Creates the seats of those who watch. */
export function createWatchers({ inAll, perAddress }: WatcherLimits): Watchers {
  const byAddress = new Map<string, number>();
  let taken = 0;

  function leave(key: string): void {
    const left = (byAddress.get(key) ?? 1) - 1;
    if (left === 0) byAddress.delete(key);
    else byAddress.set(key, left);
    taken -= 1;
  }

  return {
    enter: (address) => {
      const key = addressKey(address);
      const own = byAddress.get(key) ?? 0;
      if (taken >= inAll || own >= perAddress)
        throw new PublicError("RATE_LIMIT_EXCEEDED", "Too many are watching. Try again later.", {
          metadata: { limit: "watchers" },
          retryAfterMs,
        });
      byAddress.set(key, own + 1);
      taken += 1;
      let seated = true;
      return () => {
        if (seated) leave(key);
        seated = false;
      };
    },
  };
}
