import { isIP } from "node:net";
import { hostOf, literalTarget, type Target } from "./dial.ts";
import type { SessionOptions } from "./options.ts";

/** Where an upstream is at present. */
export interface Directory {
  /** Looks up what is not known yet, and from then on again and again. */
  start(): void;
  /** Looks up all names again, at most once a second. */
  refresh(): void;
  targets(): readonly Target[];
  isLooking(): boolean;
  /** The names of which nothing is known, and why. */
  unknown(): readonly { readonly address: string; readonly problem: string | undefined }[];
  close(): void;
}

/** Milliseconds between two times that a name is looked up. */
const leastIntervalMs = 1_000;

/** How many addresses of one name are used: each is connected to. */
const maxPerName = 256;

/**
 * Keeps the addresses of an upstream. A host that is a name stands for all the IP addresses that it is found at; when
 * it cannot be found any more, the last ones are kept. `localhost` is not looked up: its addresses are the same machine,
 * and Node finds the one where something listens.
 *
 * @param changed told when the targets are others than before
 */
export function createDirectory(
  addresses: readonly URL[],
  options: Pick<SessionOptions, "resolve" | "dnsTtlMs" | "connectTimeoutMs">,
  changed: () => void,
): Directory {
  const literal = addresses.filter((address) => !isName(address)).map(literalTarget);
  const names = addresses.filter(isName).map((address) => createName(address, options, changed));
  let timer: NodeJS.Timeout | undefined;
  const lookUp = () => {
    for (const name of names) name.lookUp();
  };
  return {
    start() {
      if (names.length === 0 || timer !== undefined) return;
      timer = setInterval(lookUp, options.dnsTtlMs).unref();
      lookUp();
    },
    refresh: lookUp,
    targets: () => [...literal, ...names.flatMap((name) => name.targets())],
    isLooking: () => names.some((name) => name.isLooking()),
    unknown: () =>
      names
        .filter((name) => name.targets().length === 0)
        .map((name) => ({ address: name.address.host, problem: name.problem() })),
    close() {
      clearInterval(timer);
      for (const name of names) name.close();
    },
  };
}

function isName(address: URL): boolean {
  const host = hostOf(address);
  return isIP(host) === 0 && host !== "localhost" && !host.endsWith(".localhost");
}

function createName(
  address: URL,
  { resolve, connectTimeoutMs }: Pick<SessionOptions, "resolve" | "connectTimeoutMs">,
  changed: () => void,
) {
  let targets: readonly Target[] = [];
  let problem: string | undefined;
  let looking = false;
  let asking = false;
  let closed = false;
  let lastAt = Number.NEGATIVE_INFINITY;
  let later: NodeJS.Timeout | undefined;

  async function lookUp(): Promise<void> {
    lastAt = performance.now();
    looking = true;
    asking = true;
    // The system's resolver cannot be stopped, but need not be waited for. What it says late is heard all the same.
    const late = setTimeout(
      () => settle(`not found within ${connectTimeoutMs} ms`),
      connectTimeoutMs,
    ).unref();
    try {
      targets = targetsAt(address, await resolve(hostOf(address)));
      settle(undefined);
    } catch (error) {
      settle(error instanceof Error ? error.message : String(error));
    } finally {
      asking = false;
      clearTimeout(late);
    }
  }

  function settle(why: string | undefined): void {
    problem = why === undefined ? undefined : `${address.host}: ${why}`;
    looking = false;
    if (!closed) changed();
  }

  return {
    address,
    targets: () => targets,
    problem: () => problem,
    isLooking: () => looking,
    lookUp() {
      // One at a time: while DNS is away, each takes long, and they would pile up.
      if (asking || closed || later !== undefined) return;
      const waitMs = lastAt + leastIntervalMs - performance.now();
      if (waitMs <= 0) return void lookUp();
      later = setTimeout(() => {
        later = undefined;
        void lookUp();
      }, waitMs).unref();
    },
    close() {
      closed = true;
      clearTimeout(later);
    },
  };
}

function targetsAt(address: URL, found: readonly string[]): readonly Target[] {
  const hosts = [...new Set(found)].slice(0, maxPerName);
  if (hosts.length === 0) throw new Error("no addresses");
  return hosts.map((host) => ({ address, host, label: `${address.host} at ${host}` }));
}
