import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { create, type DescMethod, type Message } from "@bufbuild/protobuf";
import { generateKeyPair, SignJWT } from "jose";
import { pino } from "pino";
import { type Arrival, createAdmit } from "../packages/gateway/src/admit.ts";
import { services } from "../packages/gateway/src/app/app.ts";
import type { Call } from "../packages/gateway/src/call.ts";
import {
  CreateOrderRequestSchema,
  GetOrderWithUserRequestSchema,
  OrdersService,
} from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { createAudit } from "../packages/gateway/src/observe/audit.ts";
import { createCallRecord } from "../packages/gateway/src/observe/call-record.ts";
import {
  createApiKeyVerifier,
  generateApiKey,
  parseApiKeys,
} from "../packages/gateway/src/policy/identity/api-keys.ts";
import { createAuthenticate } from "../packages/gateway/src/policy/identity/authenticate.ts";
import { createTokenVerifier } from "../packages/gateway/src/policy/identity/tokens.ts";
import { parseLimits } from "../packages/gateway/src/policy/limits/limits.ts";
import { createMeter } from "../packages/gateway/src/policy/limits/meter.ts";
import { createRateLimit } from "../packages/gateway/src/policy/limits/rate-limit.ts";
import { createLiveAccess } from "../packages/gateway/src/policy/live-access.ts";
import { createMethodTable, entryOf, permissionsIn } from "../packages/gateway/src/policy/method-table.ts";
import { createPermit } from "../packages/gateway/src/policy/permit.ts";
import { createValidate } from "../packages/gateway/src/policy/validation/validate.ts";
import type { UpstreamClients } from "../packages/gateway/src/upstream/clients.ts";

// What the policy costs of a call, warm: the CPU time of each of its parts, as the gateway calls them, and of both of its
// stages. Everything is real but the sockets. Each figure is the median of the rounds.

const rounds = 7;
const callsPerRound = 100_000;

const silent = pino({ level: "silent" });
const methods = createMethodTable(services);
const { getOrderWithUser, createOrder } = OrdersService.method;
const access = createLiveAccess(
  fileURLToPath(new URL("../packages/gateway/src/app/access.json", import.meta.url)),
  permissionsIn(methods),
  silent,
);

const issuer = "https://login.example.com";
const { publicKey, privateKey } = await generateKeyPair("RS256");
const token = await new SignJWT({ roles: ["support"] })
  .setProtectedHeader({ alg: "RS256", kid: "1" })
  .setIssuer(issuer)
  .setAudience("api")
  .setSubject("user-1")
  .setIssuedAt()
  .setExpirationTime("1h")
  .sign(privateKey);
const { id, key, sha256 } = generateApiKey();
const apiKeys = parseApiKeys(
  JSON.stringify({
    keys: [{ id, name: "bench", sha256, roles: ["support"], createdAt: new Date().toISOString() }],
  }),
  "bench",
);

const verifyToken = createTokenVerifier([
  {
    issuer,
    audience: "api",
    claims: { subject: "sub", roles: "roles" },
    keys: { find: async () => publicKey, epoch: () => 1, warm: async () => {} },
  },
]);
const verifyKey = createApiKeyVerifier(() => apiKeys);
const common = { authenticated: parseLimits("1000000000/1m"), anonymous: parseLimits("1000000000/1m") };
const meter = createMeter(createRateLimit().consume, common);
const admit = createAdmit({
  methods,
  authenticate: createAuthenticate({ token: verifyToken, apiKey: verifyKey }),
  rightsOf: access.rightsOf,
  meter,
  audit: createAudit(silent),
  // Not part of the policy: nothing is called.
  upstreams: {} as UpstreamClients,
  deadlines: { defaultMs: 10_000, maxMs: 30_000, streamMs: 600_000 },
  draining: new AbortController().signal,
});
const permit = createPermit(createValidate([...methods.keys()].map(({ input }) => input)));

const byToken = new Headers({ authorization: `Bearer ${token}`, "content-type": "application/json" });
const byKey = new Headers({ "x-api-key": key, "content-type": "application/json" });

const over = new Error("the call is over");

/** What the listener and the router make for every call, with a policy or without. */
function arrival(method: DescMethod, headers: Headers): Arrival & { readonly end: () => void } {
  const controller = new AbortController();
  return {
    method,
    headers,
    certificate: undefined,
    timeoutMs: undefined,
    signal: controller.signal,
    record: createCallRecord({ requestId: "r", httpMethod: "POST", path: "/", address: "127.0.0.1" }),
    setHeader: () => {},
    responseHeader: new Headers(),
    responseTrailer: new Headers(),
    // Stops the clock of the call. With a reason, since Node would make one, stack and all.
    end: () => controller.abort(over),
  };
}

async function admitted(method: DescMethod, headers: Headers): Promise<Call> {
  const given = arrival(method, headers);
  const call = await admit(given);
  given.end();
  return call;
}

const getEntry = entryOf(methods, getOrderWithUser);
const createEntry = entryOf(methods, createOrder);
const getRequest: Message = create(GetOrderWithUserRequestSchema, { id: "order-1" });
const createRequest: Message = create(CreateOrderRequestSchema, {
  userId: "user-1",
  lineItems: [{ product: "Webcam", quantity: 2 }],
});
const call = await admitted(getOrderWithUser, byToken);
const principal = await verifyToken(token);
const metered = arrival(getOrderWithUser, byToken);

const parts: Readonly<Record<string, () => unknown>> = {
  "find out who calls: a token, seen before": () => verifyToken(token),
  "find out who calls: an API key": () => verifyKey(key),
  "count the call, in memory": () => meter.charge(getEntry, principal, metered),
  "rights, permission and hidden fields": () => getEntry.hiddenFrom(access.rightsOf(principal)),
  "validate and permit: GetOrderWithUser": () => permit(getEntry, getRequest, call),
  "validate and permit: CreateOrder, 1 line, 1 condition": () => permit(createEntry, createRequest, call),
};
const stages: Readonly<Record<string, () => unknown>> = {
  "admit, with a token": () => admitted(getOrderWithUser, byToken),
  "admit, with an API key": () => admitted(getOrderWithUser, byKey),
  "the same without a policy: record, deadline, signals": () => bare(getOrderWithUser, byToken),
};

/** What `admit` would do for a call if there were no policy, so that the difference is what the policy costs. */
const { startDeadline, beforeAbort } = await import("../packages/gateway/src/deadline.ts");
const { createLoaderScope } = await import("../packages/gateway/src/consolidation/loaders/loader.ts");
async function bare(method: DescMethod, headers: Headers): Promise<unknown> {
  const given = arrival(method, headers);
  const deadline = startDeadline(10_000, given.signal);
  await beforeAbort(deadline.signal, Promise.resolve());
  const made = { method, ...deadline, loaders: createLoaderScope("call"), record: given.record };
  given.end();
  return made;
}

process.stdout.write(`Node ${process.version}, ${cpus().length} cores (${cpus()[0]?.model ?? "unknown"})\n`);
process.stdout.write(`${rounds} rounds of ${callsPerRound} calls, warm; microseconds of CPU per call\n\n`);
const measured = await measure({ ...parts, ...stages });
for (const [name, { median, low, high }] of measured) {
  process.stdout.write(
    `${name.padEnd(56)}${median.toFixed(2).padStart(8)}   ${low.toFixed(2)} - ${high.toFixed(2)}\n`,
  );
}
const of = (name: string): number => measured.get(name)?.median ?? Number.NaN;
const without = of("the same without a policy: record, deadline, signals");
process.stdout.write(`
the policy check: admit less the same without, and permit of GetOrderWithUser
  with a token     ${(of("admit, with a token") - without + of("validate and permit: GetOrderWithUser")).toFixed(2)}
  with an API key  ${(of("admit, with an API key") - without + of("validate and permit: GetOrderWithUser")).toFixed(2)}
  goal             10.00
`);
access.stop();

interface Figures {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/** The cases take turns, so that all of them see the same machine. */
async function measure(cases: Readonly<Record<string, () => unknown>>): Promise<Map<string, Figures>> {
  const results = new Map(Object.keys(cases).map((name) => [name, [] as number[]]));
  for (let round = -1; round < rounds; round++) {
    for (const [name, run] of Object.entries(cases)) {
      const before = process.cpuUsage();
      for (let index = 0; index < callsPerRound; index++) await run();
      const { user, system } = process.cpuUsage(before);
      // The round before the first warms up.
      if (round >= 0) results.get(name)?.push((user + system) / callsPerRound);
    }
  }
  return new Map(
    [...results].map(([name, figures]) => {
      const sorted = figures.toSorted((a, b) => a - b);
      const at = (index: number): number => sorted[index] ?? Number.NaN;
      return [name, { median: at(Math.floor(rounds / 2)), low: at(0), high: at(rounds - 1) }];
    }),
  );
}
