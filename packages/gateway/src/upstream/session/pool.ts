import { createBalancer } from "./balance.ts";
import type { Connection } from "./connection.ts";
import type { Target } from "./dial.ts";
import { createDirectory } from "./directory.ts";
import { createEndpoint, type Endpoint, type EndpointFacts, type SessionCounts } from "./endpoint.ts";
import { type SessionOptions, secureContextOf } from "./options.ts";

/** All addresses of an upstream. */
export interface Pool {
  /** A connection with room for the next call, if there is one. Opens what is lacking. */
  take(): Taken | undefined;
  /** Whether there are connections that take calls; with `take`, it tells whether all of them are full. */
  isUsable(): boolean;
  /** Whether there may soon be one, without anybody doing more. */
  isPending(): boolean;
  /** Why there is none, for the log; empty when nothing went wrong. */
  problems(): string;
  facts(): readonly EndpointFacts[];
  /** Takes no more calls, and ends those in flight after `closeGraceMs`. */
  close(): void;
}

/** A connection for one call, and the address that it goes to. */
export interface Taken {
  readonly endpoint: Endpoint;
  readonly connection: Connection;
}

/** Who is told when calls that wait may try again. */
export interface PoolOwner {
  changed(): void;
  freed(): void;
}

/** How many addresses an error names. */
const maxProblems = 5;

/** Makes the pool of an upstream. It looks up and opens nothing before the first `take`. */
export function createPool(
  name: string,
  addresses: readonly URL[],
  options: SessionOptions,
  counts: SessionCounts,
  owner: PoolOwner,
): Pool {
  const endpoints = new Map<string, Endpoint>();
  const leaving = new Set<Endpoint>();
  const balance = createBalancer();
  const directory = createDirectory(addresses, options, () => {
    follow();
    changed();
  });
  const endpointOwner = {
    name,
    options,
    secureContext: secureContextOf(options.tls),
    counts,
    changed,
    freed: owner.freed,
    disappointed: directory.refresh,
    mayEject: () => all().filter((endpoint) => endpoint.isEjected()).length < Math.floor(endpoints.size / 2),
  };
  let usable: readonly Endpoint[] | undefined;
  let toOpen = true;

  const all = () => [...endpoints.values()];

  function changed(): void {
    usable = undefined;
    toOpen = true;
    for (const endpoint of leaving) if (endpoint.isGone()) leaving.delete(endpoint);
    owner.changed();
  }

  /** Addresses that are new join, and those that are gone leave when their calls have ended. */
  function follow(): void {
    const targets = new Map(directory.targets().map((target) => [keyOf(target), target]));
    for (const [key, endpoint] of endpoints) {
      if (targets.has(key)) continue;
      endpoints.delete(key);
      leaving.add(endpoint);
      endpoint.retire();
    }
    for (const [key, target] of targets)
      if (!endpoints.has(key)) endpoints.set(key, createEndpoint(target, endpointOwner));
  }

  /** The addresses that calls go to. Better one where calls fail than none. */
  function usableNow(): readonly Endpoint[] {
    if (usable !== undefined) return usable;
    const open = all().filter((endpoint) => endpoint.isUsable());
    const good = open.filter((endpoint) => !endpoint.isEjected());
    usable = good.length > 0 ? good : open;
    return usable;
  }

  function openLacking(): void {
    directory.start();
    toOpen = false;
    for (const endpoint of endpoints.values()) endpoint.open();
  }

  follow();
  return {
    take() {
      if (toOpen) openLacking();
      const first = balance(usableNow());
      const taken = first && takenFrom(first);
      if (taken !== undefined) return taken;
      // Nobody was told yet of a connection that broke a moment ago.
      usable = undefined;
      openLacking();
      return leastBusy(usableNow());
    },
    isUsable: () => all().some((endpoint) => endpoint.isUsable()),
    isPending: () => directory.isLooking() || all().some((endpoint) => endpoint.isPending()),
    problems() {
      const each = [
        ...all().map((endpoint) => endpoint.problem()),
        ...directory.unknown().map(({ problem }) => problem),
      ].filter((problem) => problem !== undefined);
      return each.slice(0, maxProblems).join("; ");
    },
    facts: () => [
      ...all().map((endpoint) => endpoint.facts()),
      ...directory.unknown().map(({ address, problem }) => unknownFacts(address, problem)),
    ],
    close() {
      directory.close();
      const ending = [...endpoints.values(), ...leaving];
      for (const endpoint of ending) endpoint.retire();
      setTimeout(() => {
        for (const endpoint of ending) endpoint.cut();
      }, options.closeGraceMs).unref();
    },
  };
}

function takenFrom(endpoint: Endpoint): Taken | undefined {
  const connection = endpoint.take();
  return connection === undefined ? undefined : { endpoint, connection };
}

/** Asked once the one that was chosen has no room: the others may all be as full, or all but one. */
function leastBusy(endpoints: readonly Endpoint[]): Taken | undefined {
  let least: Taken | undefined;
  for (const endpoint of endpoints) {
    const taken = takenFrom(endpoint);
    if (taken !== undefined && endpoint.inFlight() < (least?.endpoint.inFlight() ?? Number.POSITIVE_INFINITY))
      least = taken;
  }
  return least;
}

/** The same name may be listed with two ports, and two names may be found at one IP address. */
function keyOf({ address, host }: Target): string {
  return `${address.origin} ${host}`;
}

function unknownFacts(address: string, problem: string | undefined): EndpointFacts {
  const state = problem === undefined ? "idle" : "unreachable";
  return { address, state, connections: 0, inFlight: 0, ejected: false, serving: true };
}
