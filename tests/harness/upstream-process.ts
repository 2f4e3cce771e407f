import type { StartOptions } from "@portico/internal-mocks";
import { type Child, startChild } from "./child.ts";
import type { Upstreams } from "./gateway-process.ts";

export type ServiceName = keyof Upstreams;

/** What goes wrong in a service: as in the mocks' `fault`. */
export interface ServiceFault {
  readonly method?: string;
  readonly latencyMs?: number;
  /** A number of gRPC. */
  readonly code?: number;
  readonly message?: string;
  readonly hang?: boolean;
  readonly times?: number;
}

/** The three internal services, in a process of their own. */
export interface UpstreamProcess extends AsyncDisposable {
  readonly urls: Upstreams;
  /** Makes something go wrong from now on. */
  readonly fault: (service: ServiceName, fault: ServiceFault) => Promise<void>;
  readonly clearFaults: (service: ServiceName) => Promise<void>;
  /** How many calls came since the start or the last `forget`, and how many run now. */
  readonly calls: (service: ServiceName, method?: string) => Promise<{ count: number; active: number }>;
  readonly forget: (service: ServiceName) => Promise<void>;
  /** Takes one service down, and up again on the same port, while the others go on. */
  readonly stop: (service: ServiceName) => Promise<void>;
  readonly restartService: (service: ServiceName) => Promise<void>;
  /** Ends the process with SIGKILL: nobody says goodbye. Faults and calls are gone with it. */
  readonly kill: () => Promise<void>;
  /** Stops it in its tracks: connections stay open and nobody answers. */
  readonly pause: () => void;
  readonly resume: () => void;
  /** Starts the process again on the same ports, if it does not run. Resolves when all services listen. */
  readonly start: () => Promise<void>;
}

/** What the parent asks of the process, and what it answers. */
export interface UpstreamRequest {
  readonly id: number;
  readonly ask: "fault" | "clear" | "calls" | "forget" | "stop" | "restart";
  readonly service: ServiceName;
  readonly method?: string | undefined;
  readonly fault?: ServiceFault | undefined;
}
export interface UpstreamAnswer {
  readonly id: number;
  readonly count: number;
  readonly active: number;
}

/**
 * Starts the internal services on free ports.
 *
 * @example
 * await using upstreams = await startUpstreams({ users: 100 });
 * await upstreams.fault("users", { code: Code.Unavailable });
 */
export async function startUpstreams(options: StartOptions = {}): Promise<UpstreamProcess> {
  const launch = async (given: StartOptions) => {
    const child = startChild(new URL("upstream-main.ts", import.meta.url), { args: [JSON.stringify(given)] });
    return { child, urls: (await child.told(isStart)).urls };
  };
  let { child, urls } = await launch(options);
  let asked = 0;
  const ask = (request: Omit<UpstreamRequest, "id">) => {
    const id = ++asked;
    return child.ask({ id, ...request }, (message): message is UpstreamAnswer => isAnswer(message, id));
  };
  const done = (answer: Promise<unknown>) => answer.then(() => undefined);
  return {
    urls,
    fault: (service, fault) => done(ask({ ask: "fault", service, fault })),
    clearFaults: (service) => done(ask({ ask: "clear", service })),
    calls: (service, method) => ask({ ask: "calls", service, method }),
    forget: (service) => done(ask({ ask: "forget", service })),
    stop: (service) => done(ask({ ask: "stop", service })),
    restartService: (service) => done(ask({ ask: "restart", service })),
    kill: () => done(child.kill()),
    pause: () => child.process.kill("SIGSTOP"),
    resume: () => child.process.kill("SIGCONT"),
    start: async () => {
      if (child.runs()) return;
      const portOf = (service: ServiceName) => Number(new URL(urls[service]).port);
      const ports = { users: portOf("users"), orders: portOf("orders"), inventory: portOf("inventory") };
      ({ child, urls } = await launch({ ...options, ports }));
    },
    [Symbol.asyncDispose]: () => endOf(child),
  };
}

/** Whether the process was asked for something. */
export function isRequest(message: unknown): message is UpstreamRequest {
  return typeof message === "object" && message !== null && "ask" in message;
}

async function endOf(child: Child): Promise<void> {
  const { stderr } = await child.kill();
  if (stderr !== "") throw new Error(`the internal services crashed:\n${stderr}`);
}

function isStart(message: unknown): message is { urls: Upstreams } {
  return typeof message === "object" && message !== null && "urls" in message;
}

function isAnswer(message: unknown, id: number): message is UpstreamAnswer {
  return typeof message === "object" && message !== null && "id" in message && message.id === id;
}
