import { Code, ConnectError } from "@connectrpc/connect";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type AdmitParts, type Arrival, createAdmit } from "./admit.ts";
import { PublicError } from "./errors.ts";
import { createAudit } from "./observe/audit.ts";
import { createCallRecord } from "./observe/call-record.ts";
import { parseAccess } from "./policy/access.ts";
import { unauthenticated } from "./policy/identity/unauthenticated.ts";
import { createMeter } from "./policy/limits/meter.ts";
import { createRateLimit } from "./policy/limits/rate-limit.ts";
import { createMethodTable } from "./policy/method-table.ts";
import { anonymous, type Principal } from "./policy/principal.ts";
import { createRightsOf } from "./policy/rights.ts";
import { service } from "./service.ts";
import { inMemory, thrownBy } from "./testing/call.ts";
import { authenticated } from "./testing/principals.ts";
import { pub, pubLegacy } from "./testing/protos.ts";

const nothing = () => ({});
const methods = pub.WarehouseService.method;
const upstreams = inMemory([], () => {});
const principals: Record<string, Principal> = {
  ada: authenticated("ada", "reader"),
  bob: authenticated("bob"),
};
const table = createMethodTable([
  service(pub.WarehouseService, {
    getStatus: nothing,
    getCrate: nothing,
    listCrates: nothing,
    storeCrates: nothing,
    async *watchCrates() {},
  }),
]);
const admit = createAdmit({
  methods: table,
  authenticate: async ({ headers }) => {
    const name = headers.get("authorization");
    if (name === null) return anonymous;
    const principal = principals[name];
    if (principal === undefined) throw unauthenticated("CREDENTIALS_INVALID");
    return principal;
  },
  draining: new AbortController().signal,
  rightsOf: createRightsOf(parseAccess('{ "roles": { "reader": ["crates.read"] } }', "access.json"), "1"),
  meter: createMeter(createRateLimit().consume, { authenticated: [], anonymous: [] }),
  audit: createAudit(pino({ level: "silent" })),
  upstreams,
  deadlines: { defaultMs: 1_000, maxMs: 3_000, streamMs: 60_000 },
});

describe("who may come in", () => {
  test("a call is made of what is known of it", async () => {
    const given = arrival({ caller: "ada" });
    const call = await admit(given);
    expect(call).toMatchObject({
      method: methods.listCrates,
      requestId: "request-1",
      principal: { kind: "token", subject: "ada" },
      upstreams,
      record: given.record,
    });
    expect(call.loaders.batches.size).toBe(0);
    expect((await admit(arrival({ caller: "ada" }))).loaders).not.toBe(call.loaders);
  });

  test("the record says who calls, even one who is kept out", async () => {
    const admitted = arrival({ caller: "ada" });
    await admit(admitted);
    const stranger = arrival({ method: methods.getStatus });
    await admit(stranger);
    const refused = arrival({ caller: "bob" });
    await thrownBy(admit(refused));
    expect([admitted, stranger, refused].map(({ record }) => record.caller)).toEqual([
      "ada",
      "anonymous",
      "bob",
    ]);
  });

  test.each<[string, Partial<Given>, Code]>([
    ["a stranger where credentials are needed", { method: methods.getCrate }, Code.Unauthenticated],
    ["a stranger where a permission is needed", {}, Code.Unauthenticated],
    [
      "bad credentials, even where none are needed",
      { caller: "eve", method: methods.getStatus },
      Code.Unauthenticated,
    ],
    ["credentials without the permission", { caller: "bob" }, Code.PermissionDenied],
    [
      "credentials with another permission",
      { caller: "ada", method: methods.storeCrates },
      Code.PermissionDenied,
    ],
  ])("keeps out %s", async (_, given, code) => {
    const error = await thrownBy(admit(arrival(given)));
    expect(error).toBeInstanceOf(PublicError);
    expect(error).toMatchObject({ code });
  });

  test("a method that is not in the table is never admitted", async () => {
    const method = pubLegacy.LedgerService.method.listEntries;
    expect(await thrownBy(admit(arrival({ caller: "ada", method })))).toMatchObject({
      message: expect.stringContaining("is not in the method table"),
    });
  });
});

describe("a call that goes on", () => {
  let [who, roles]: [Principal | PublicError, string] = [anonymous, ""];
  const parts: AdmitParts = {
    methods: table,
    authenticate: async () => {
      if (who instanceof PublicError) throw who;
      return who;
    },
    rightsOf: (principal) => createRightsOf(parseAccess(roles, "access.json"), roles)(principal),
    meter: createMeter(createRateLimit().consume, { authenticated: [], anonymous: [] }),
    audit: createAudit(pino({ level: "silent" })),
    upstreams,
    deadlines: { defaultMs: 1_000, maxMs: 3_000, streamMs: 60_000 },
    draining: new AbortController().signal,
  };
  const reader = '{ "roles": { "reader": ["crates.read"] } }';
  const begin = () => {
    [who, roles] = [authenticated("ada", "reader"), reader];
    return createAdmit(parts)(arrival({ method: methods.watchCrates }));
  };

  test("may go on while its caller could make it anew", async () => {
    const call = await begin();
    who = authenticated("ada", "reader");
    expect(await call.recheck()).toBeUndefined();
  });

  test("and while the issuer's keys cannot be had", async () => {
    const call = await begin();
    who = new PublicError("CREDENTIALS_UNVERIFIABLE");
    expect(await call.recheck()).toBeUndefined();
  });

  test("ends with its credentials", async () => {
    const call = await begin();
    who = new PublicError("CREDENTIALS_EXPIRED");
    expect(await thrownBy(call.recheck())).toBe(who);
  });

  test("ends when its caller has other roles, or its roles may do other things", async () => {
    const call = await begin();
    who = authenticated("ada");
    expect(await thrownBy(call.recheck())).toMatchObject({ reason: "RIGHTS_CHANGED" });
    [who, roles] = [authenticated("ada", "reader"), '{ "roles": { "reader": [] } }'];
    expect(await thrownBy(call.recheck())).toMatchObject({ reason: "RIGHTS_CHANGED" });
  });
});

describe("how long it may take", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
  afterEach(() => void vi.useRealTimers());

  test.each<[string, Partial<Given>, number]>([
    ["a unary call has the default", {}, 1_000],
    ["or what its caller asks for", { timeoutMs: 20 }, 20],
    ["also if that is more than the default", { timeoutMs: 2_000 }, 2_000],
    ["but never more than there is", { timeoutMs: 1e12 }, 3_000],
    ["nothing, if nothing is asked for", { timeoutMs: 0 }, 0],
    ["a stream has its own limit", { method: methods.watchCrates }, 60_000],
    ["or less", { method: methods.watchCrates, timeoutMs: 5_000 }, 5_000],
    ["but never more", { method: methods.watchCrates, timeoutMs: 1e12 }, 60_000],
  ])("%s", async (_, given, ms) => {
    const { signal, remainingMs } = await admit(arrival({ caller: "ada", ...given }));
    expect(remainingMs()).toBe(ms);
    if (ms > 0) vi.advanceTimersByTime(ms - 1);
    expect(signal.aborted).toBe(false);
    vi.advanceTimersByTime(2);
    expect(remainingMs()).toBeLessThan(0);
    expect(signal.reason).toBeInstanceOf(PublicError);
    expect(signal.reason).toMatchObject({
      code: Code.DeadlineExceeded,
      rawMessage: "The call took longer than it may.",
    });
  });

  test("the end of the call ends the timer", async () => {
    const controller = new AbortController();
    const { signal } = await admit(arrival({ caller: "ada", signal: controller.signal }));
    expect(vi.getTimerCount()).toBe(1);
    const gone = new ConnectError("gone", Code.Canceled);
    controller.abort(gone);
    expect(vi.getTimerCount()).toBe(0);
    expect(signal.reason).toBe(gone);
  });

  test("a caller who has left already is not let in", async () => {
    const gone = new ConnectError("gone", Code.Canceled);
    expect(await thrownBy(admit(arrival({ caller: "ada", signal: AbortSignal.abort(gone) })))).toBe(gone);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("the transport's own time-out gets the gateway's words", async () => {
    const controller = new AbortController();
    const { signal } = await admit(arrival({ caller: "ada", signal: controller.signal }));
    controller.abort(new ConnectError("the operation timed out", Code.DeadlineExceeded));
    expect(signal.reason).toBeInstanceOf(PublicError);
    expect(signal.reason).toMatchObject({ code: Code.DeadlineExceeded });
  });
});

interface Given extends Arrival {
  readonly caller: string;
}

function arrival({ caller, ...given }: Partial<Given> = {}): Arrival {
  return {
    method: methods.listCrates,
    headers: new Headers(caller === undefined ? {} : { authorization: caller }),
    certificate: undefined,
    timeoutMs: undefined,
    setHeader: () => {},
    responseHeader: new Headers(),
    responseTrailer: new Headers(),
    signal: new AbortController().signal,
    record: createCallRecord({ requestId: "request-1", httpMethod: "POST", path: "/", address: "127.0.0.1" }),
    ...given,
  };
}
