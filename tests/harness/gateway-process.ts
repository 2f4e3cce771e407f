import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { type Child, type ProcessEnd, startChild } from "./child.ts";
import type { Probe } from "./probe.ts";

/** What `/readyz` of the admin port says. */
export interface ReadyState {
  readonly httpStatus: number;
  readonly status?: unknown;
  readonly inFlight?: unknown;
  readonly [detail: string]: unknown;
}

/** The gateway as a company runs it: `main.ts` in a process of its own. */
export interface GatewayProcess extends AsyncDisposable {
  readonly url: string;
  readonly adminUrl: string;
  readonly pid: () => number;
  /** A token of the demo identity; for a gateway in demo mode. After a restart, the old ones are of no use. */
  readonly token: (role?: "admin" | "support" | "viewer" | "customer", subject?: string) => Promise<string>;
  /** The last 20,000 lines of its log. */
  readonly log: () => readonly LogLine[];
  readonly readyz: () => Promise<ReadyState>;
  /** What `/metrics` of the admin port says, as text. */
  readonly metrics: () => Promise<string>;
  /** The value of one metric, summed over those of its labels that have all of `labels`; undefined if there is none. */
  readonly metric: (name: string, labels?: Readonly<Record<string, string>>) => Promise<number | undefined>;
  /** Its state as it sees it; collects garbage before. */
  readonly probe: () => Promise<Probe>;
  /** Resident memory as the system sees it, in bytes. Needs /proc. */
  readonly rssBytes: () => number;
  /** How many files and sockets it has open. Needs /proc. */
  readonly descriptors: () => number;
  readonly signal: (signal: NodeJS.Signals) => void;
  /** Tells it to end (SIGTERM) and waits for that. */
  readonly stop: () => Promise<ProcessEnd & { readonly durationMs: number }>;
  /** Starts it again on the same ports; kills it before, if it still runs. */
  readonly restart: () => Promise<void>;
  /** What must never be: exceptions that nobody caught, ends that nobody asked for, words on stderr. */
  readonly crashes: () => readonly string[];
  /** Ends it, and throws if it has crashed. */
  readonly [Symbol.asyncDispose]: () => Promise<void>;
}

/** A line of the log. */
export type LogLine = Readonly<Record<string, unknown>>;

const source = new URL("../../packages/gateway/src/", import.meta.url);

/** Where the internal services are, by name. */
export type Upstreams = Readonly<Record<"users" | "orders" | "inventory", string>>;

/**
 * Starts the gateway with the demo's API on free ports, and waits until it listens. It is in demo mode, counts no calls,
 * keeps no answers, logs warnings and errors alone, and gives callers who do not say a second.
 *
 * @param env variables that are added to those, or take their place
 * @example
 * await using gateway = await startGateway(upstreams.urls, { DRAIN_DELAY_MS: "400" });
 */
export async function startGateway(
  upstreams: Upstreams,
  env: Readonly<Record<string, string | undefined>> = {},
): Promise<GatewayProcess> {
  const log: LogLine[] = [];
  const crashes: string[] = [];
  const onLine = (line: string) => {
    const parsed: LogLine = JSON.parse(line);
    if (parsed["msg"] === "uncaught exception") crashes.push(line);
    log.push(parsed);
    if (log.length > 20_000) log.splice(0, 10_000);
  };
  const variables = {
    PORTICO_MODE: "demo",
    PORT: "0",
    ADMIN_PORT: "0",
    ACCESS_FILE: fileURLToPath(new URL("app/access.json", source)),
    UPSTREAM_USERS: upstreams.users,
    UPSTREAM_ORDERS: upstreams.orders,
    UPSTREAM_INVENTORY: upstreams.inventory,
    RATE_LIMIT_AUTHENTICATED: "off",
    RATE_LIMIT_ANONYMOUS: "off",
    ANSWER_CACHE_BYTES: "0",
    ENTITY_CACHE_BYTES: "0",
    DEFAULT_TIMEOUT_MS: "1000",
    LOG_LEVEL: "warn",
    ...env,
  };
  let stopping = false;
  const start = async (ports: Readonly<Record<string, string>> = {}) => {
    stopping = false;
    const child = startChild(new URL("main.ts", source), { env: { ...variables, ...ports }, onLine });
    void child.ended.then(({ code, signal, stderr }) => {
      if (!stopping || (signal === null && code !== 0)) crashes.push(`ended with ${code ?? signal}`);
      if (stderr !== "") crashes.push(stderr);
    });
    return { child, where: await child.told(isAddresses) };
  };
  let { child, where } = await start();
  const kill = async () => {
    stopping = true;
    await child.kill();
  };
  return {
    url: where.url,
    adminUrl: where.adminUrl,
    pid: () => child.pid,
    token: async (role = "admin", subject = "ada") =>
      (await fetch(`${where.url}/demo/token?sub=${subject}&role=${role}`)).text(),
    log: () => log,
    readyz: async () => {
      const answer = await fetch(`${where.adminUrl}/readyz`);
      const state: Record<string, unknown> = JSON.parse(await answer.text());
      return { ...state, httpStatus: answer.status };
    },
    metrics: () => metricsOf(where.adminUrl),
    metric: async (name, labels = {}) => readMetric(await metricsOf(where.adminUrl), name, labels),
    probe: () => child.probe(),
    rssBytes: () => rssOf(child),
    descriptors: () => readdirSync(`/proc/${child.pid}/fd`).length,
    signal: (signal) => {
      stopping ||= signal !== "SIGSTOP" && signal !== "SIGCONT";
      child.process.kill(signal);
    },
    stop: async () => {
      const startedAt = performance.now();
      stopping = true;
      child.process.kill("SIGTERM");
      return { ...(await child.ended), durationMs: performance.now() - startedAt };
    },
    restart: async () => {
      await kill();
      const [port, adminPort] = [where.url, where.adminUrl].map((url) => new URL(url).port);
      ({ child, where } = await start({ PORT: port ?? "", ADMIN_PORT: adminPort ?? "" }));
    },
    crashes: () => [...crashes, ...(child.stderr() === "" ? [] : [child.stderr()])],
    [Symbol.asyncDispose]: async () => {
      await kill();
      if (crashes.length > 0) throw new Error(`the gateway crashed:\n${crashes.join("\n")}`);
    },
  };
}

function isAddresses(message: unknown): message is { url: string; adminUrl: string } {
  return typeof message === "object" && message !== null && "adminUrl" in message;
}

async function metricsOf(adminUrl: string): Promise<string> {
  return (await fetch(`${adminUrl}/metrics`)).text();
}

/** Reads Prometheus' text: lines such as `name{label="value"} 12`. */
function readMetric(text: string, name: string, labels: Readonly<Record<string, string>>) {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}="${value}"`);
  const values = text
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `))
    .filter((line) => wanted.every((label) => line.includes(label)))
    .map((line) =>
      Number(
        line
          .slice(line.lastIndexOf("}") + 1)
          .trim()
          .split(" ")
          .at(line.includes("}") ? 0 : 1),
      ),
    );
  return values.length === 0 ? undefined : values.reduce((sum, value) => sum + value, 0);
}

function rssOf({ pid }: Child): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(status.match(/VmRSS:\s+(\d+) kB/)?.[1] ?? 0) * 1_024;
}
