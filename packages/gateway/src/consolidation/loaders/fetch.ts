import type { Message } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import type { PublicError } from "../../errors.ts";
import type { UpstreamClients } from "../../upstream/clients.ts";
import { isUnimplemented } from "../../upstream/translate.ts";
import type { EntityKey } from "./key.ts";

/** The entities of one key, or why they could not be fetched. */
export type Found = readonly Message[] | PublicError;

/** What a fetch brought. */
export interface Fetched {
  /** For each key that was asked for, in their order. */
  readonly found: readonly Found[];
  /** What came along, by its key: of a whole list. */
  readonly others?: readonly (readonly [EntityKey, readonly Message[]])[];
}

/** Fetches the entities of some keys. Rejects only if the call itself is over. */
export type Fetch = (keys: readonly EntityKey[], call: Call) => Promise<Fetched>;

/** For how long a way that an upstream does not have is left alone, in milliseconds: the service may be upgraded. */
const retryMs = 5 * 60_000;

/**
 * Makes one fetch of several ways, the best one first. Where an upstream answers `unimplemented`, the next way is used
 * for what is left, and from then on, for five minutes. Each gateway remembers that for itself.
 *
 * @param now a clock that does not jump, in milliseconds
 */
export function createFetch(ways: readonly Fetch[], now: () => number = () => performance.now()): Fetch {
  const states = new WeakMap<UpstreamClients, { first: number; retryAt: number }>();

  /** The way to begin with. One call of many finds out whether a better one is there by now. */
  function begin(clients: UpstreamClients): number {
    const state = states.get(clients);
    if (state === undefined) return 0;
    if (now() < state.retryAt) return state.first;
    state.retryAt = now() + retryMs;
    return 0;
  }

  function remember(clients: UpstreamClients, first: number): void {
    if (first === 0) states.delete(clients);
    else if (states.get(clients)?.first !== first) states.set(clients, { first, retryAt: now() + retryMs });
  }

  async function fetchBy(index: number, keys: readonly EntityKey[], call: Call): Promise<Fetched> {
    const way = ways[index];
    if (way === undefined) throw new Error("a loader has at least one way");
    const fetched = await way(keys, call);
    const left = keys.filter((_, at) => isUnimplemented(fetched.found[at]));
    if (left.length === 0 || index === ways.length - 1) {
      remember(call.upstreams, index);
      return fetched;
    }
    const { found, others } = await fetchBy(index + 1, left, call);
    const rest = found[Symbol.iterator]();
    return {
      found: fetched.found.map((it) => (isUnimplemented(it) ? (rest.next().value ?? it) : it)),
      ...(others && { others }),
    };
  }

  return (keys, call) => fetchBy(begin(call.upstreams), keys, call);
}
