import type { MethodEntry } from "../policy/method-table.ts";

/** What the bodies of all requests in flight may take of the memory, together. */
export interface ByteBudget {
  /**
   * Takes as much for a caller, unless that is more than there is, or than one caller may have. Says whether it did. Give
   * back what was taken.
   */
  readonly take: (caller: string, bytes: number, hasBegun: boolean) => boolean;
  readonly give: (caller: string, bytes: number) => void;
  /** The bytes that are taken now. */
  readonly used: () => number;
}

/**
 * Creates a budget. Its last eighth is for bodies that have begun: at the limit it is better to finish what is half there
 * than to refuse it as well. One caller may have half of it: who sends many large bodies, or sends them slowly, must not
 * keep out everybody else.
 *
 * @param maxBytes how much there is
 */
export function createByteBudget(maxBytes: number): ByteBudget {
  const byCaller = new Map<string, number>();
  let used = 0;
  const add = (caller: string, bytes: number): void => {
    const own = (byCaller.get(caller) ?? 0) + bytes;
    if (own === 0) byCaller.delete(caller);
    else byCaller.set(caller, own);
    used += bytes;
  };
  return {
    take: (caller, bytes, hasBegun) => {
      if (used + bytes > (hasBegun ? maxBytes : maxBytes * (7 / 8))) return false;
      if ((byCaller.get(caller) ?? 0) + bytes > maxBytes / 2) return false;
      add(caller, bytes);
      return true;
    },
    give: (caller, bytes) => add(caller, -bytes),
    used: () => used,
  };
}

/** The methods whose largest request no caller could ever send, since it may not have so much of the budget. */
export function budgetProblems(
  methods: Iterable<Pick<MethodEntry, "name" | "maxRequestBytes">>,
  maxBytes: number,
): string[] {
  return [...methods]
    .filter(({ maxRequestBytes = 0 }) => maxRequestBytes > maxBytes / 2)
    .map(
      ({ name, maxRequestBytes }) =>
        `${name}: max_request_bytes is ${maxRequestBytes}, more than half of MAX_IN_FLIGHT_BYTES, ${maxBytes}: lower the one or raise the other`,
    );
}
