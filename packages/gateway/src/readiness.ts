/** Which upstreams must be within reach for the gateway to want traffic: at least one, all, those named, or none. */
export type ReadyRule = "none" | "any" | "all" | readonly string[];

/** Whether the gateway wants traffic: the one answer that `/readyz` and gRPC health give. */
export interface Readiness {
  readonly ready: () => boolean;
  /** Why not, in words for operators; empty when it is ready. */
  readonly lacks: () => readonly string[];
  /** Calls the listener after every change of what `ready` says, until the function that it returns is called. */
  readonly watch: (listener: () => void) => () => void;
  /** The gateway listens: connections are warmed up, and upstreams are looked after from here on. */
  readonly start: () => void;
  /** The gateway stops: not ready, for good. */
  readonly stop: () => void;
}

/** What readiness is judged by. */
export interface ReadinessParts {
  readonly rule: ReadyRule;
  /** The names of all upstreams. */
  readonly upstreams: readonly string[];
  /** The state of each upstream, by its name; one without a state counts as within reach. */
  readonly states: () => Readonly<Record<string, "idle" | "connecting" | "ready" | "unreachable">>;
  /** Tries to connect to an upstream. How that ends is seen in its state. */
  readonly probe: (upstream: string) => Promise<unknown>;
}

/** How often states are looked at, in milliseconds. */
const lookMs = 500;

/** Every how many looks an upstream that is out of reach is tried. */
const looksPerProbe = 2;

/**
 * Judges whether the gateway is ready: it listens, it does not drain, and the upstreams are within reach as the rule asks.
 *
 * An upstream that was not tried yet is within reach, and so is one that is connecting for the first time. One that was
 * out of reach stays so until it is connected: else each attempt would say ready for as long as it lasts. Since without
 * traffic nobody else would try, it is tried once a second.
 *
 * @example
 * const readiness = createReadiness({ rule: "any", upstreams: ["users"], states: clients.states, probe: clients.probe });
 * readiness.start();
 */
export function createReadiness({ rule, upstreams, states, probe }: ReadinessParts): Readiness {
  const listeners = new Set<() => void>();
  const lost = new Set<string>();
  let phase: "starting" | "started" | "stopping" = "starting";
  let timer: NodeJS.Timeout | undefined;
  let looks = 0;
  let said = false;

  function lacks(): readonly string[] {
    if (phase !== "started") return [`the gateway is ${phase}`];
    const known = states();
    for (const name of upstreams) {
      const state = known[name];
      if (state === "unreachable") lost.add(name);
      else if (state !== "connecting") lost.delete(name);
    }
    return missing(rule, upstreams, lost).map((name) => `the upstream ${name} is unreachable`);
  }

  /** Tells the listeners of a change, whoever noticed it. */
  function judge(): readonly string[] {
    const found = lacks();
    const ready = found.length === 0;
    if (ready !== said) {
      said = ready;
      for (const listener of listeners) listener();
    }
    return found;
  }

  function look(): void {
    judge();
    looks += 1;
    if (looks % looksPerProbe === 0) for (const name of lost) tryOnce(name, probe);
  }

  return {
    ready: () => judge().length === 0,
    lacks: judge,
    watch: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    start: () => {
      if (phase !== "starting") return;
      phase = "started";
      for (const name of upstreams) tryOnce(name, probe);
      timer = setInterval(look, lookMs).unref();
      judge();
    },
    stop: () => {
      phase = "stopping";
      clearInterval(timer);
      judge();
    },
  };
}

/** The upstreams that keep the gateway from being ready. */
function missing(rule: ReadyRule, upstreams: readonly string[], lost: ReadonlySet<string>): string[] {
  if (rule === "none") return [];
  const asked = typeof rule === "string" ? upstreams : rule;
  const gone = asked.filter((name) => lost.has(name));
  return rule === "any" && gone.length < asked.length ? [] : gone;
}

function tryOnce(name: string, probe: ReadinessParts["probe"]): void {
  probe(name).catch(() => {}); // the state says so
}
