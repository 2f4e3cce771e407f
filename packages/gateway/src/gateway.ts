import type { Transport } from "@connectrpc/connect";
import { fastify } from "fastify";
import type { Logger } from "pino";
import { createAdmit } from "./admit.ts";
import { createCachedAnswers } from "./answers/cached-answers.ts";
import { keepAnswers } from "./answers/keep-answers.ts";
import type { Config } from "./config.ts";
import { keepEntities } from "./consolidation/entities/keep-entities.ts";
import { budgetProblems, createByteBudget } from "./edge/byte-budget.ts";
import { serveDemoToken } from "./edge/demo-token.ts";
import { serveFallback } from "./edge/fallback.ts";
import { serveHealth } from "./edge/health.ts";
import { serveMetrics } from "./edge/metrics.ts";
import { openPort, urlOf } from "./edge/ports.ts";
import { explainError } from "./edge/protocol-errors.ts";
import { serveProtocols } from "./edge/protocols.ts";
import { createServer } from "./edge/server.ts";
import { PublicError, StartError } from "./errors.ts";
import { createInvoke } from "./invoke.ts";
import { createAudit } from "./observe/audit.ts";
import { describeError } from "./observe/describe-error.ts";
import type { ProcessFacts } from "./observe/metric-facts.ts";
import { createMetrics } from "./observe/metrics.ts";
import { createObserver } from "./observe/observer.ts";
import { createTracing } from "./observe/tracing.ts";
import { createDemoIdentity } from "./policy/identity/demo-identity.ts";
import { createIdentity } from "./policy/identity/identity.ts";
import { createMeter, meterProblems } from "./policy/limits/meter.ts";
import { createRateLimit } from "./policy/limits/rate-limit.ts";
import { createLiveAccess } from "./policy/live-access.ts";
import { createMethodTable, permissionsIn } from "./policy/method-table.ts";
import { createPermit } from "./policy/permit.ts";
import { createValidate } from "./policy/validation/validate.ts";
import { createReadiness } from "./readiness.ts";
import { createRedis } from "./redis.ts";
import type { PublicService } from "./service.ts";
import { createStandardServices } from "./standard/standard.ts";
import { createUpstreamClients } from "./upstream/clients.ts";
import { watchGatewayToken } from "./upstream/gateway-token.ts";
import { type AnyUpstream, declaration } from "./upstream/upstream.ts";

/** What a gateway is made of. */
export interface GatewayOptions {
  readonly config: Config;
  /** The public services, made by `service()`. */
  readonly services: readonly PublicService[];
  /** The internal services that they call, made by `upstream()`. */
  readonly upstreams: readonly AnyUpstream[];
  readonly log: Logger;
  /** What the process says of itself, for metrics: only its main module touches it. */
  readonly processFacts?: () => ProcessFacts;
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
  log: givenLog,
  processFacts,
  transports = {},
}: GatewayOptions): Promise<Gateway> {
  // Whoever logs an error, no secret in its words is logged.
  const log = givenLog.child({}, { serializers: { err: describeError } });

  // What can be called, by whom, and what answers it: decided now, looked up per call.
  const readiness = createReadiness({
    rule: config.readyUpstreams,
    upstreams: upstreams.map((upstream) => upstream[declaration].name),
    states: () => clients.states(),
    probe: (name) => clients.probe(name),
  });
  const standard = createStandardServices({
    services,
    readiness,
    // Before the stream counts as idle.
    repeatMs: config.deadlines.streamIdleMs / 2,
    reflection: config.reflection,
  });
  const methods = createMethodTable([...services, ...standard]);
  const validate = createValidate([...methods.keys()].map(({ input }) => input));
  refuse([
    ...meterProblems(methods.values(), config.rateLimits),
    ...budgetProblems(methods.values(), config.limits.maxInFlightBytes),
  ]);
  const access = createLiveAccess(config.files.access, permissionsIn(methods), log);
  const gatewayToken = watchGatewayToken(config.files.gatewayToken, log);
  const clients = createUpstreamClients(upstreams, {
    addresses: config.upstreams,
    transports,
    maxResponseBytes: config.limits.maxResponseBytes,
    tls: config.upstreamTls,
    token: gatewayToken?.current,
  });
  const audit = createAudit(log);

  // Before the body is read: who calls, how often, and may they?
  const draining = new AbortController();
  const demo = config.mode === "demo" ? await createDemoIdentity(config) : undefined;
  const identity = createIdentity(config, access.current, demo, log);
  const redis = config.redisUrl === undefined ? undefined : createRedis(config.redisUrl, log);
  const entities = keepEntities({
    maxBytes: config.entityCacheBytes,
    redis,
    domain: config.errorDomain,
    upstreams,
    maxMs: config.deadlines.maxMs,
    log,
  });
  const admit = createAdmit({
    methods,
    authenticate: identity.authenticate,
    rightsOf: access.rightsOf,
    meter: createMeter(createRateLimit({ redis }).consume, config.rateLimits),
    audit,
    upstreams: clients,
    entities,
    deadlines: config.deadlines,
    draining: draining.signal,
  });

  // After it: validate, decide about the request, run the handler or give its kept answer, put errors into words.
  const answers = keepAnswers({
    maxBytes: config.answerCacheBytes,
    redis,
    domain: config.errorDomain,
    methods: methods.keys(),
    log,
  });
  const invoke = createInvoke({
    methods,
    permit: createPermit(validate),
    cached: createCachedAnswers(answers, config.deadlines.maxMs),
    audit,
    streamIdleMs: config.deadlines.streamIdleMs,
  });

  // Around both: one port for every protocol, and whoever watches what happens there.
  const tracing = await createTracing(config.tracing, log);
  const metrics = createMetrics({
    methods: new Map(
      Array.from(methods.keys(), ({ parent, name, methodKind }) => [
        `${parent.typeName}/${name}`,
        methodKind === "unary" ? "unary" : "stream",
      ]),
    ),
    facts: () => ({
      ready: readiness.ready(),
      listener: listener.facts(),
      overload: overload.facts(),
      upstreams: clients.facts(),
      answers: answers?.facts(),
      entities: entities?.facts(),
      tracing: tracing?.facts(),
      usage: processFacts?.(),
    }),
  });
  const observer = createObserver({ log, logSampleRatio: config.logSampleRatio, metrics, tracing });
  const inFlightBytes = createByteBudget(config.limits.maxInFlightBytes);
  const { app, listener, overload, recordOf } = await createServer({
    listener: { limits: config.listener, inFlightBytes, ...(config.tls && { tls: config.tls }) },
    overload: config.overload,
    corsOrigins: config.corsOrigins,
    trustedProxies: config.trustedProxies,
    errorDomain: config.errorDomain,
    observer,
    log,
  });
  const { limits, errorDomain } = config;
  serveProtocols(app, {
    ...{ methods, admit, invoke, limits, inFlightBytes },
    ...{ explain: explainError, errorDomain, recordOf },
  });
  serveHealth(app, readiness);
  serveFallback(app, errorDomain);
  if (demo !== undefined) serveDemoToken(app, demo, Object.keys(access.current().roles));

  const admin = fastify({ forceCloseConnections: true });
  serveMetrics(admin, metrics);
  serveHealth(admin, readiness, () => ({
    inFlight: listener.inFlight(),
    upstreams: clients.states(),
    unimplemented: clients.unimplemented(),
    answers: answers?.facts(),
    entities: entities?.facts(),
  }));

  return {
    listen: async () => {
      await openPort(admin, "ADMIN_PORT", config.host, config.adminPort);
      await openPort(app, "PORT", config.host, config.port);
      void identity.warm();
      readiness.start();
      return { url: urlOf(app, config), adminUrl: urlOf(admin, { host: config.host, tls: undefined }) };
    },
    drain: async () => {
      readiness.stop();
      listener.retire();
      await new Promise((resolve) => setTimeout(resolve, config.drain.delayMs));
      draining.abort(new PublicError("RESTARTING"));
      const cutOff = await listener.drain(config.drain.timeoutMs);
      await Promise.all([app.close(), admin.close(), tracing?.close()]);
      metrics.close();
      for (const end of [clients.close, access.stop, identity.stop, gatewayToken?.stop, redis?.close])
        end?.();
      return cutOff;
    },
  };
}

function refuse(problems: readonly string[]): void {
  if (problems.length > 0) throw new StartError(problems);
}
