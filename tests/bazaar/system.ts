import { fileURLToPath } from "node:url";
import { createGateway, loadConfig } from "@portico/gateway";
import { pino } from "pino";
import { type Servers, startServers } from "./servers.ts";
import { bazaarService, charmsService, curiosService, type ReceiptView, relicsService } from "./services.ts";
import { upstreams } from "./upstreams.ts";

/** A gateway in front of the bazaar, and the internal services, over real sockets on free ports. */
export interface Bazaar extends AsyncDisposable {
  readonly url: string;
  readonly servers: Servers;
  /** Credentials: a keeper may do everything, a visitor sees no mail addresses. */
  readonly headers: (role?: "keeper" | "visitor") => Promise<Record<string, string>>;
}

/** What a test changes. */
export interface BazaarOptions {
  /** How receipts are made. */
  readonly receipts?: ReceiptView;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts everything. */
export async function startBazaar({ receipts, env = {} }: BazaarOptions = {}): Promise<Bazaar> {
  const servers = await startServers();
  const names = ["purchases", "shoppers", "companies", "shelves", "stalls", "lanterns", "notes"];
  const cabinet = ["curios", "relics", "charms"];
  const addresses = [...names, ...cabinet].map((name) => [`UPSTREAM_${name.toUpperCase()}`, servers.url]);
  const config = loadConfig(
    {
      PORTICO_MODE: "demo",
      PORT: "0",
      ADMIN_PORT: "0",
      ACCESS_FILE: fileURLToPath(new URL("access.json", import.meta.url)),
      DRAIN_TIMEOUT_MS: "2000",
      RATE_LIMIT_AUTHENTICATED: "off",
      RATE_LIMIT_ANONYMOUS: "off",
      ANSWER_CACHE_BYTES: "0",
      DEFAULT_TIMEOUT_MS: "30000",
      ...Object.fromEntries(addresses),
      ...env,
    },
    [...names, ...cabinet],
  );
  const gateway = await createGateway({
    config,
    services: [bazaarService(receipts), curiosService, relicsService, charmsService],
    upstreams,
    log: pino({ level: "silent" }),
  });
  const { url } = await gateway.listen();
  return {
    url,
    servers,
    headers: async (role = "keeper") => {
      const token = await (await fetch(`${url}/demo/token?sub=ada&role=${role}`)).text();
      return { authorization: `Bearer ${token}` };
    },
    [Symbol.asyncDispose]: async () => {
      await gateway.drain();
      await servers[Symbol.asyncDispose]();
    },
  };
}
