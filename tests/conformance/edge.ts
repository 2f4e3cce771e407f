import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { type Admit, createAdmit } from "../../packages/gateway/src/admit.ts";
import type { Call } from "../../packages/gateway/src/call.ts";
import { type Config, loadConfig } from "../../packages/gateway/src/config.ts";
import { createByteBudget } from "../../packages/gateway/src/edge/byte-budget.ts";
import type { TlsOptions } from "../../packages/gateway/src/edge/listener.ts";
import { serveProtocols } from "../../packages/gateway/src/edge/protocols.ts";
import { createServer } from "../../packages/gateway/src/edge/server.ts";
import { createAudit } from "../../packages/gateway/src/observe/audit.ts";
import { unwatched } from "../../packages/gateway/src/observe/call-record.ts";
import { parseAccess } from "../../packages/gateway/src/policy/access.ts";
import { createAuthenticate } from "../../packages/gateway/src/policy/identity/authenticate.ts";
import { createCertificateVerifier } from "../../packages/gateway/src/policy/identity/certificates.ts";
import { unauthenticated } from "../../packages/gateway/src/policy/identity/unauthenticated.ts";
import { createMeter } from "../../packages/gateway/src/policy/limits/meter.ts";
import { createRateLimit } from "../../packages/gateway/src/policy/limits/rate-limit.ts";
import { createMethodTable, type MethodTable } from "../../packages/gateway/src/policy/method-table.ts";
import { createRightsOf } from "../../packages/gateway/src/policy/rights.ts";
import { standardService } from "../../packages/gateway/src/service.ts";
import { inMemory } from "../../packages/gateway/src/testing/call.ts";
import { ConformanceService } from "../gen/connectrpc/conformance/v1/service_pb.ts";
import { createPlainInvoke } from "./plain-invoke.ts";
import { conformanceHandlers, type Wire } from "./service.ts";

/** How the conformance service is served. */
export interface ConformanceOptions {
  /** With `clientCa`, calls without a client certificate are refused. */
  readonly tls?: TlsOptions;
  /** The largest request that is taken, in bytes. */
  readonly maxRequestBytes: number;
}

/** The conformance service, served. */
export interface ServedConformance {
  readonly url: URL;
  readonly close: () => Promise<void>;
}

const log = pino({ level: "silent" });
/** The roles do not matter, since everybody may call. */
const accessFile = fileURLToPath(new URL("../../packages/gateway/src/app/access.json", import.meta.url));

/**
 * Serves the conformance service on a free port, behind the gateway's own listener, server, protocols and `admit`, with
 * the settings that it has by default, but for what a slow machine would be refused by. Only its `invoke` is left out,
 * which would put the errors that the cases ask for into words of its own.
 */
export async function serveConformance({
  tls,
  maxRequestBytes,
}: ConformanceOptions): Promise<ServedConformance> {
  const config = loadConfig(
    {
      PORTICO_MODE: "demo",
      ACCESS_FILE: accessFile,
      MAX_REQUEST_BYTES: String(maxRequestBytes),
      RATE_LIMIT_ANONYMOUS: "1000000/1m",
      RATE_LIMIT_AUTHENTICATED: "1000000/1m",
      MAX_LOOP_LAG_MS: "10000",
    },
    [],
  );
  const { limits, errorDomain } = config;
  const inFlightBytes = createByteBudget(limits.maxInFlightBytes);
  const { app, recordOf } = await createServer({
    listener: { limits: config.listener, inFlightBytes, ...(tls && { tls }) },
    overload: config.overload,
    corsOrigins: config.corsOrigins,
    trustedProxies: config.trustedProxies,
    errorDomain,
    observer: { began: () => unwatched, ended() {} },
    log,
  });
  const urls = new WeakMap<object, string>();
  app.addHook("onRequest", async (request) => void urls.set(recordOf(request), request.url));
  const wires = new WeakMap<object, Wire>();
  const wireOf = (call: Call): Wire => {
    const wire = wires.get(call);
    if (wire === undefined) throw new Error("the call was not admitted");
    return wire;
  };
  const methods = createMethodTable([
    standardService(ConformanceService, conformanceHandlers(wireOf), {
      access: { case: "anonymous", value: true },
    }),
  ]);
  const admit = createRealAdmit(methods, config);
  serveProtocols(app, {
    methods,
    admit: async (arrival) => {
      const { headers, record, timeoutMs, responseHeader, responseTrailer } = arrival;
      if (tls?.clientCa !== undefined && arrival.certificate === undefined)
        throw unauthenticated("CREDENTIALS_MISSING");
      const call = await admit(arrival);
      const url = urls.get(record) ?? "";
      wires.set(call, { requestHeader: headers, url, timeoutMs, responseHeader, responseTrailer });
      return call;
    },
    invoke: createPlainInvoke(methods),
    ...{ limits, inFlightBytes, errorDomain, recordOf },
    explain: () => undefined,
  });
  return { url: new URL(await app.listen({ host: "127.0.0.1", port: 0 })), close: () => app.close() };
}

function createRealAdmit(methods: MethodTable, { rateLimits, deadlines }: Config): Admit {
  return createAdmit({
    methods,
    authenticate: createAuthenticate({
      token: async () => {
        throw unauthenticated("CREDENTIALS_INVALID");
      },
      certificate: createCertificateVerifier(() => ({})),
    }),
    rightsOf: createRightsOf(parseAccess('{ "roles": {} }', "access.json"), "1"),
    meter: createMeter(createRateLimit().consume, rateLimits),
    audit: createAudit(log),
    upstreams: inMemory([], () => {}),
    deadlines,
    draining: new AbortController().signal,
  });
}
