import type { MethodEntry } from "../method-table.ts";
import type { Limit, Principal } from "../principal.ts";
import { addressKey } from "./address-key.ts";
import { type Charge, chargeProblem, type RateLimit } from "./rate-limit.ts";

/** Counts the calls of each caller. */
export interface Meter {
  /**
   * Takes what a call costs from what its caller has left, and says in the answer's headers how much that is.
   *
   * Errors: `resource_exhausted` if it is not enough.
   */
  readonly charge: (entry: MethodEntry, principal: Principal, arrival: Metered) => Promise<void>;
  /** Takes one call from what an address has left. */
  readonly chargeAddress: (arrival: Metered) => Promise<void>;
}

/** What the meter needs of a call. */
export interface Metered {
  readonly record: { readonly address: string };
  readonly setHeader: (name: string, value: string) => void;
}

/** The limits of callers who have none of their own. */
export interface CommonLimits {
  /** For each caller with credentials. */
  readonly authenticated: readonly Limit[];
  /** For each address that calls without. */
  readonly anonymous: readonly Limit[];
}

/**
 * Creates the meter: a caller with credentials is counted by its identity, whatever its addresses; one without by its
 * address.
 */
export function createMeter(limit: RateLimit, common: CommonLimits): Meter {
  const consume = async (key: string, charges: readonly Charge[], { setHeader }: Metered): Promise<void> => {
    if (charges.every(({ limits }) => limits.length === 0)) return;
    const { headers } = await limit(key, charges);
    for (const [name, value] of Object.entries(headers)) setHeader(name, value);
  };
  return {
    charge: (entry, principal, arrival) => {
      const isAnonymous = principal.kind === "anonymous";
      const limits = "limits" in principal ? principal.limits : undefined;
      const own = limits ?? (isAnonymous ? common.anonymous : common.authenticated);
      const charges: Charge[] = entry.cost === 0 ? [] : [{ scope: "common", limits: own, cost: entry.cost }];
      if (entry.bucket !== undefined) charges.push({ scope: entry.name, limits: [entry.bucket], cost: 1 });
      return consume(isAnonymous ? addressKey(arrival.record.address) : principal.id, charges, arrival);
    },
    chargeAddress: (arrival) =>
      consume(
        addressKey(arrival.record.address),
        [{ scope: "common", limits: common.anonymous, cost: 1 }],
        arrival,
      ),
  };
}

/** What cannot be: a call that costs more than its caller can ever have. */
export function meterProblems(entries: Iterable<MethodEntry>, common: CommonLimits): string[] {
  const limits = [...common.authenticated, ...common.anonymous];
  return [...entries].flatMap(({ name, cost }) => {
    const problem = chargeProblem({ scope: "common", limits, cost });
    return problem === undefined ? [] : [`${name}: (portico.v1.method).rate_limit.cost: ${problem}`];
  });
}
