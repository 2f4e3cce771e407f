import { readFileSync } from "node:fs";
import { get } from "node:https";
import { fileURLToPath } from "node:url";
import { createGateway, type GatewayOptions, loadConfig } from "@portico/gateway";
import { type RunningMocks, type StartOptions, startMocks } from "@portico/internal-mocks";
import { type DestinationStream, pino } from "pino";
import { services, upstreams } from "../packages/gateway/src/app/app.ts";

/** The gateway and the three internal services, over real sockets on free ports. */
export interface System extends AsyncDisposable {
  /** The public port. */
  readonly url: string;
  readonly adminUrl: string;
  /** PEM of who signed the certificate of the public port; absent in cleartext. */
  readonly ca: string | undefined;
  readonly mocks: RunningMocks;
  /** The requests on the public port that have not been answered whole. */
  readonly inFlight: () => Promise<number>;
  /** A token of the demo identity. */
  readonly token: (role: "admin" | "support" | "viewer" | "customer", subject?: string) => Promise<string>;
  /** What the gateway has logged, a JSON object a line. */
  readonly log: () => Record<string, unknown>[];
  /** Resolves to the log line of a request, once it is written. */
  readonly logOf: (requestId: string) => Promise<Record<string, unknown>>;
  /** Ends everything. Throws if requests were still in flight, since then a test has leaked them. */
  readonly close: () => Promise<void>;
}

/** What a test changes. */
export interface SystemOptions {
  /** Variables that are added to those of the demo. */
  readonly env?: Readonly<Record<string, string>>;
  readonly mocks?: StartOptions;
  /** Serves TLS with the certificate of the fixtures. */
  readonly tls?: boolean;
  readonly services?: GatewayOptions["services"];
}

/** Starts the system as `pnpm start` does, in this process. */
export async function startSystem({
  env = {},
  mocks: mockOptions = {},
  tls = false,
  ...parts
}: SystemOptions = {}): Promise<System> {
  const mocks = await startMocks(mockOptions);
  const lines: Record<string, unknown>[] = [];
  const sink: DestinationStream = { write: (line) => void lines.push(JSON.parse(line)) };
  const config = loadConfig(
    {
      PORTICO_MODE: "demo",
      PORT: "0",
      ADMIN_PORT: "0",
      ACCESS_FILE: fileURLToPath(new URL("../packages/gateway/src/app/access.json", import.meta.url)),
      UPSTREAM_USERS: mocks.users.url,
      UPSTREAM_ORDERS: mocks.orders.url,
      UPSTREAM_INVENTORY: mocks.inventory.url,
      DRAIN_DELAY_MS: "0",
      DRAIN_TIMEOUT_MS: "2000",
      // What counts calls, and what keeps answers, has tests of its own.
      RATE_LIMIT_AUTHENTICATED: "off",
      RATE_LIMIT_ANONYMOUS: "off",
      ANSWER_CACHE_BYTES: "0",
      ENTITY_CACHE_BYTES: "0",
      // A machine that is busy with other tests must not pass for a gateway that has too much to do.
      MAX_LOOP_LAG_MS: "10000",
      ...(tls && { TLS_CERT_FILE: fixture("cert"), TLS_KEY_FILE: fixture("key") }),
      ...env,
    },
    ["users", "orders", "inventory"],
  );
  const gateway = await createGateway({
    config,
    services: parts.services ?? services,
    upstreams,
    log: pino({ level: "debug" }, sink),
    processFacts: () => ({
      node: process.versions.node,
      cpuSeconds: process.cpuUsage().user / 1e6,
      residentBytes: process.memoryUsage.rss(),
    }),
  });
  const { url, adminUrl } = await gateway.listen();
  const close = async () => {
    const cutOff = await gateway.drain();
    await mocks.close();
    if (cutOff > 0) throw new Error(`the test left ${cutOff} requests in flight`);
  };
  const ca = tls ? readFileSync(fixture("cert"), "utf8") : undefined;
  return {
    url,
    adminUrl,
    ca,
    mocks,
    inFlight: async () => {
      const state: { inFlight?: unknown } = JSON.parse(await getText(`${adminUrl}/readyz`));
      return Number(state.inFlight);
    },
    token: (role, subject = "ada") => getText(`${url}/demo/token?sub=${subject}&role=${role}`, ca),
    log: () => lines,
    logOf: async (requestId) => {
      for (let tries = 0; tries < 200; tries++) {
        const line = lines.find((line) => line["msg"] === "request" && line["requestId"] === requestId);
        if (line !== undefined) return line;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      throw new Error(`there is no log line of the request ${requestId}`);
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

function fixture(name: "cert" | "key"): string {
  return fileURLToPath(new URL(`fixtures/tls/${name}.pem`, import.meta.url));
}

/** `fetch` cannot be given a certificate authority. */
async function getText(url: string, ca?: string): Promise<string> {
  if (ca === undefined) return (await fetch(url)).text();
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  get(url, { ca, agent: false }, async (response) => {
    resolve((await response.toArray()).map(String).join(""));
  }).on("error", reject);
  return promise;
}
