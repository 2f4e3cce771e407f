import { Code, type Transport } from "@connectrpc/connect";
import { type FastifyInstance, fastify } from "fastify";
import type { Logger } from "pino";
import { createAdmit } from "./admit.ts";
import type { Config } from "./config.ts";
import { serveDemoToken } from "./edge/demo-token.ts";
import { serveFallback } from "./edge/fallback.ts";
import { type Readiness, serveHealth } from "./edge/health.ts";
import { defaultListenerLimits } from "./edge/listener.ts";
import { serveProtocols } from "./edge/protocols.ts";
import { createServer } from "./edge/server.ts";
import { PublicError, StartError } from "./errors.ts";
import { createInvoke } from "./invoke.ts";
import { createGrants } from "./policy/access.ts";
import { createAuthenticate, createIssuerKeys } from "./policy/authenticate.ts";
import { createAuthorize } from "./policy/authorize.ts";
import { createDemoIdentity, type DemoIdentity } from "./policy/demo-identity.ts";
import { createMethodTable } from "./policy/method-table.ts";
import type { PublicService } from "./service.ts";
import { createUpstreamClients } from "./upstream/clients.ts";
import type { AnyUpstream } from "./upstream/upstream.ts";

/** What a gateway is made of. */
export interface GatewayOptions {
  readonly config: Config;
  /** The public services, made by `service()`. */
  readonly services: readonly PublicService[];
  /** The internal services that they call, made by `upstream()`. */
  readonly upstreams: readonly AnyUpstream[];
  readonly log: Logger;
  /** Transports instead of connections, by the name of the upstream: for tests in memory. */
  readonly transports?: Readonly<Record<string, Transport>>;
}

/** A gateway, ready to listen. */
export interface Gateway {
  /** Opens the public and the admin port; 0 takes any that is free. Rejects with a `StartError` if one is taken. */
  readonly listen: () => Promise<Addresses>;
  /**
   * Ends without failing a request: readiness goes off, after `drain.delayMs` clients are told to go elsewhere,
   * requests in flight get `drain.timeoutMs` to end. Resolves to the number of requests that were cut off.
   */
  readonly drain: () => Promise<number>;
}

/** Where a gateway listens. */
export interface Addresses {
  readonly url: string;
  readonly adminUrl: string;
}

/**
 * Builds a gateway. This is the way of a call, from top to bottom:
 *
 *   socket -> server -> protocols -> admit -> (body) -> invoke -> handler -> views, loaders -> upstreams
 *
 * Throws a `StartError` if a method has no policy or an upstream no address.
 */
export async function createGateway({
  config,
  services,
  upstreams,
  log,
  transports = {},
}: GatewayOptions): Promise<Gateway> {
  // What can be called, by whom, and what answers it: decided now, looked up per call.
  const methods = createMethodTable(services);
  const clients = createUpstreamClients(upstreams, {
    addresses: config.upstreams,
    transports,
    maxResponseBytes: config.limits.maxResponseBytes,
  });

  // Before the body is read: who calls, and may they?
  const draining = new AbortController();
  const demo = config.mode === "demo" ? await createDemoIdentity(config.rolesClaim) : undefined;
  const authenticate = createAuthenticate(demo?.rules ?? issuerRules(config));
  const authorize = createAuthorize(createGrants(config.access));
  const admit = createAdmit({
    methods,
    authenticate,
    authorize,
    upstreams: clients,
    deadlines: config.deadlines,
    draining: draining.signal,
  });

  // After it: validate, run the handler, put errors into words for the caller.
  const invoke = createInvoke(methods);

  // Around both: one port for every protocol.
  const readiness: Readiness = { ready: false };
  const { app, listener, recordOf } = await createServer({
    listener: { limits: defaultListenerLimits, ...(config.tls && { tls: config.tls }) },
    corsOrigins: config.corsOrigins,
    log,
  });
  serveProtocols(app, { services, admit, invoke, limits: config.limits, recordOf });
  serveHealth(app, readiness);
  serveFallback(app);
  if (demo !== undefined) serveDemoToken(app, demo, Object.keys(config.access.roles));

  const admin = fastify({ forceCloseConnections: true });
  serveHealth(admin, readiness, () => ({ inFlight: listener.inFlight(), upstreams: clients.states() }));

  return {
    listen: async () => {
      await open(admin, "ADMIN_PORT", config.host, config.adminPort);
      await open(app, "PORT", config.host, config.port);
      readiness.ready = true;
      return { url: urlOf(app, config), adminUrl: urlOf(admin, { host: config.host, tls: undefined }) };
    },
    drain: async () => {
      readiness.ready = false;
      await new Promise((resolve) => setTimeout(resolve, config.drain.delayMs));
      draining.abort(new PublicError(Code.Unavailable, "The API is restarting. Connect again."));
      const cutOff = await listener.drain(config.drain.timeoutMs);
      await Promise.all([app.close(), admin.close()]);
      clients.close();
      return cutOff;
    },
  };
}

function issuerRules({ auth, rolesClaim }: Config): DemoIdentity["rules"] {
  if (auth === undefined) throw new Error("outside demo mode, a config without auth cannot be loaded");
  const { issuer, audience, jwksUrl } = auth;
  return { issuer, audience, rolesClaim, key: createIssuerKeys(issuer, jwksUrl) };
}

async function open(app: FastifyInstance, variable: string, host: string, port: number): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (error) {
    const taken = error instanceof Error && "code" in error && error.code === "EADDRINUSE";
    const why = taken
      ? `is taken: end what listens there, or set ${variable} to another`
      : `cannot be had: ${error}`;
    throw new StartError([`port ${port} ${why}`]);
  }
}

function urlOf(app: FastifyInstance, { host, tls }: Pick<Config, "host" | "tls">): string {
  const address = app.server.address();
  const port = typeof address === "object" ? address?.port : undefined;
  const name = host.includes(":") ? `[${host}]` : host;
  return `${tls === undefined ? "http" : "https"}://${name}:${port}`;
}
