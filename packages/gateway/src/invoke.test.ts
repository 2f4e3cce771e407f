import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { createCachedAnswers } from "./answers/cached-answers.ts";
import type { Call } from "./call.ts";
import { PublicError } from "./errors.ts";
import { ServerReflection } from "./gen/grpc/reflection/v1/reflection_pb.ts";
import { createInvoke, type Invoke } from "./invoke.ts";
import { createAudit } from "./observe/audit.ts";
import { createMethodTable } from "./policy/method-table.ts";
import { createPermit } from "./policy/permit.ts";
import { createValidate } from "./policy/validation/validate.ts";
import { type Handlers, type PublicService, service, standardService } from "./service.ts";
import { drain, testCall, thrownBy } from "./testing/call.ts";
import { internal, pub, pubLegacy, vault } from "./testing/protos.ts";

const methods = pub.WarehouseService.method;
const crateRequest = create(pub.GetCrateRequestSchema, { code: "A-1" });
const watchRequest = create(pub.WatchCratesRequestSchema, { aisle: "A" });
const overdue = new PublicError("DEADLINE_EXCEEDED");

describe("unary", () => {
  test.each([
    ["a promise", async () => ({ crate: { code: "A-1" } })],
    ["an answer at once", () => ({ crate: { code: "A-1" } })],
  ])("gives what the handler answers: %s", async (_, getCrate) => {
    const call = testCall();
    expect(await invokeOf({ getCrate }).unary(methods.getCrate, crateRequest, call)).toMatchObject({
      crate: { code: "A-1" },
    });
    expect(call.record.outcome).toBe("ok");
  });

  test("hands the request and the call to the handler", async () => {
    const call = testCall();
    const seen: unknown[] = [];
    const invoke = invokeOf({
      getCrate: (...given) => {
        seen.push(...given);
        return {};
      },
    });
    await invoke.unary(methods.getCrate, crateRequest, call);
    expect(seen).toEqual([crateRequest, call]);
  });

  test("refuses a request without a required field, and does not run the handler", async () => {
    let ran = false;
    const call = testCall();
    const invoke = invokeOf({
      getCrate: () => {
        ran = true;
        return {};
      },
    });
    expect(
      await thrownBy(invoke.unary(methods.getCrate, create(pub.GetCrateRequestSchema), call)),
    ).toMatchObject({ code: Code.InvalidArgument, rawMessage: "code: is required" });
    expect(ran).toBe(false);
    expect(call.record.outcome).toBe(Code.InvalidArgument);
  });

  test("refuses a method that is not in the table", async () => {
    const call = testCall();
    const other = pubLegacy.LedgerService.method.listEntries;
    expect(await thrownBy(invokeOf({}).unary(other, crateRequest, call))).toMatchObject({
      code: Code.Internal,
    });
    expect(call.record.error).toMatchObject({
      message: expect.stringContaining("is not in the method table"),
    });
  });

  test("a handler that ignores its signal ends at the deadline", async () => {
    const controller = new AbortController();
    const call = testCall({ signal: controller.signal });
    const answer = invokeOf({ getCrate: () => new Promise(() => {}) }).unary(
      methods.getCrate,
      crateRequest,
      call,
    );
    controller.abort(overdue);
    expect(await thrownBy(answer)).toMatchObject({ reason: overdue.reason });
    expect(call.record.outcome).toBe(Code.DeadlineExceeded);
  });

  test("so does one whose deadline had passed before", async () => {
    const call = testCall({ signal: AbortSignal.abort(overdue) });
    const answer = invokeOf({ getCrate: () => new Promise(() => {}) }).unary(
      methods.getCrate,
      crateRequest,
      call,
    );
    expect(await thrownBy(answer)).toMatchObject({ reason: overdue.reason });
  });

  test("a handler that fails after the deadline disturbs nobody", async () => {
    const controller = new AbortController();
    const late = Promise.withResolvers<never>();
    const answer = invokeOf({ getCrate: () => late.promise }).unary(
      methods.getCrate,
      crateRequest,
      testCall({ signal: controller.signal }),
    );
    controller.abort(overdue);
    await thrownBy(answer);
    // vitest fails on a rejection that nobody handles.
    late.reject(new Error("too late"));
    await new Promise(setImmediate);
  });

  test.each([
    ["a ConnectError for a caller who left", new ConnectError("gone", Code.Canceled)],
    ["the router's end of the call", new ConnectError("over", Code.Aborted)],
    ["a plain AbortError", new DOMException("gone", "AbortError")],
  ])("a call that was left is canceled: %s", async (_, reason) => {
    const controller = new AbortController();
    const call = testCall({ signal: controller.signal });
    const answer = invokeOf({ getCrate: () => new Promise(() => {}) }).unary(
      methods.getCrate,
      crateRequest,
      call,
    );
    controller.abort(reason);
    expect(await thrownBy(answer)).toMatchObject({
      code: Code.Canceled,
      rawMessage: "The caller ended the call.",
    });
    expect(call.record.outcome).toBe(Code.Canceled);
  });
});

describe("what a handler throws", () => {
  async function failWith(error: unknown): Promise<{ shown: unknown; call: Call }> {
    const call = testCall();
    const invoke = invokeOf({
      getCrate: () => {
        throw error;
      },
    });
    return { shown: await thrownBy(invoke.unary(methods.getCrate, crateRequest, call)), call };
  }

  test("a public error passes as it is, and its cause is noted", async () => {
    const cause = new Error("db row 5");
    const error = new PublicError("NOT_FOUND", "code: there is no such crate", { cause });
    const { shown, call } = await failWith(error);
    expect(shown).toBeInstanceOf(PublicError);
    expect(shown).toMatchObject({ reason: "NOT_FOUND", rawMessage: error.rawMessage });
    // What is sent along names one call, and others may fail with the same error.
    expect(shown).not.toBe(error);
    expect(call.record).toMatchObject({ outcome: Code.NotFound, error: cause });
  });

  test.each([
    ["a plain error", new Error("connect ECONNREFUSED 10.0.0.7:5432")],
    [
      "another ConnectError",
      new ConnectError("connect ECONNREFUSED 10.0.0.7:5432", Code.NotFound, { "x-db": "10.0.0.7" }),
    ],
    ["a string", "10.0.0.7"],
    ["nothing", undefined],
  ])("%s becomes a bare internal, with the cause for the log alone", async (_, error) => {
    const { shown, call } = await failWith(error);
    expect(shown).toBeInstanceOf(PublicError);
    expect(shown).toMatchObject({
      code: Code.Internal,
      rawMessage: "The request failed inside the API.",
      details: [],
    });
    expect((shown as PublicError).message).not.toContain("10.0.0.7");
    expect([...(shown as PublicError).metadata]).toEqual([]);
    expect(call.record.outcome).toBe(Code.Internal);
    if (error !== undefined) expect(call.record.error).toBe(error);
    else expect(call.record.error).toBe(shown);
  });
});

describe("stream", () => {
  test("gives what the handler yields, in order", async () => {
    const call = testCall();
    const invoke = invokeOf({
      async *watchCrates({ aisle }) {
        yield { crate: { code: `${aisle}-1` } };
        yield { crate: { code: `${aisle}-2` } };
      },
    });
    expect(await drain(invoke.stream(methods.watchCrates, watchRequest, call))).toMatchObject([
      { crate: { code: "A-1" } },
      { crate: { code: "A-2" } },
    ]);
    expect(call.record.outcome).toBe("ok");
  });

  test("refuses a request without a required field", async () => {
    const empty = create(pub.WatchCratesRequestSchema);
    const invoke = invokeOf({});
    expect(await thrownBy(drain(invoke.stream(methods.watchCrates, empty, testCall())))).toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: "aisle: is required",
    });
  });

  test("ends when nothing was said for too long", async () => {
    const call = testCall();
    const whole = service(pub.WarehouseService, {
      ...nothing,
      async *watchCrates() {
        yield { crate: { code: "A-1" } };
        await new Promise(() => {});
      },
    });
    const invoke = invokeIn(whole, 20);
    const answers = invoke.stream(methods.watchCrates, watchRequest, call)[Symbol.asyncIterator]();
    expect(await answers.next()).toMatchObject({ value: { crate: { code: "A-1" } } });
    expect(await thrownBy(answers.next())).toMatchObject({
      reason: "DEADLINE_EXCEEDED",
      rawMessage: "There was no message for too long. Connect again.",
    });
  });

  test("takes a stream of requests for a standard service, and permits each of them", async () => {
    const desc = ServerReflection;
    const whole = standardService(
      desc,
      {
        async *serverReflectionInfo(requests) {
          for await (const { host } of requests) yield { validHost: host };
        },
      },
      { access: { case: "anonymous", value: true } },
    );
    const permitted: unknown[] = [];
    const table = createMethodTable([whole]);
    const invoke = createInvoke({
      methods: table,
      permit: (_, request) => void permitted.push(request),
      cached: createCachedAnswers(undefined, 1_000),
      audit: createAudit(pino({ level: "silent" })),
      streamIdleMs: 60_000,
    });
    const method = desc.method.serverReflectionInfo;
    const requests = ["a", "b"].map((host) => create(method.input, { host }));
    const call = testCall({ method });
    const answers = await drain(invoke.stream(method, from(requests), call));
    expect(answers).toMatchObject([{ validHost: "a" }, { validHost: "b" }]);
    expect(permitted).toEqual(requests);
    expect(call.record.outcome).toBe("ok");
  });

  test("ends before a message that its caller may not see any more", async () => {
    let allowed = true;
    const call = testCall({
      recheck: async () => {
        if (!allowed) throw new PublicError("RIGHTS_CHANGED");
      },
    });
    const invoke = invokeOf({
      async *watchCrates() {
        yield { crate: { code: "A-1" } };
        yield { crate: { code: "A-2" } };
      },
    });
    const answers = invoke.stream(methods.watchCrates, watchRequest, call)[Symbol.asyncIterator]();
    expect(await answers.next()).toMatchObject({ value: { crate: { code: "A-1" } } });
    allowed = false;
    expect(await thrownBy(answers.next())).toMatchObject({ reason: "RIGHTS_CHANGED" });
    expect(call.record.outcome).toBe(Code.Unavailable);
  });

  test("a reader that leaves ends the handler, and the call is canceled", async () => {
    const call = testCall();
    const returned = Promise.withResolvers<void>();
    const invoke = invokeOf({
      async *watchCrates() {
        try {
          for (;;) yield {};
        } finally {
          returned.resolve();
        }
      },
    });
    for await (const answer of invoke.stream(methods.watchCrates, watchRequest, call)) {
      expect(answer).toEqual(create(pub.WatchCratesResponseSchema));
      break;
    }
    await returned.promise;
    expect(call.record.outcome).toBe(Code.Canceled);
  });

  test("an error in the middle comes after what was yielded before, and in the gateway's words", async () => {
    const call = testCall();
    const error = new Error("db row 5");
    const invoke = invokeOf({
      async *watchCrates() {
        yield { crate: { code: "A-1" } };
        throw error;
      },
    });
    const answers = invoke.stream(methods.watchCrates, watchRequest, call)[Symbol.asyncIterator]();
    expect(await answers.next()).toMatchObject({ done: false, value: { crate: { code: "A-1" } } });
    expect(await thrownBy(answers.next())).toMatchObject({
      code: Code.Internal,
      rawMessage: "The request failed inside the API.",
    });
    expect(call.record).toMatchObject({ outcome: Code.Internal, error });
    expect(await answers.next()).toEqual({ done: true, value: undefined });
  });

  test("a handler that waits for ever ends at the deadline", async () => {
    const controller = new AbortController();
    const call = testCall({ signal: controller.signal });
    const invoke = invokeOf({
      async *watchCrates() {
        yield {};
        await new Promise(() => {});
      },
    });
    const answers = invoke.stream(methods.watchCrates, watchRequest, call)[Symbol.asyncIterator]();
    await answers.next();
    const second = answers.next();
    controller.abort(overdue);
    expect(await thrownBy(second)).toMatchObject({ reason: overdue.reason });
    expect(call.record.outcome).toBe(Code.DeadlineExceeded);
  });

  test.each([
    [
      "throws",
      () => {
        throw new RangeError("cannot end");
      },
    ],
    ["gives no promise", () => ({ done: true, value: undefined }) as never],
  ])("a handler that %s when it is told to end changes nothing of the call", async (_, leave) => {
    const call = testCall();
    let asked = 0;
    const next = async () => (++asked === 1 ? { value: {} } : { done: true as const, value: undefined });
    const invoke = invokeOf({
      watchCrates: () => ({ [Symbol.asyncIterator]: () => ({ next, return: leave }) }),
    });
    expect(await drain(invoke.stream(methods.watchCrates, watchRequest, call))).toHaveLength(1);
    expect(call.record.outcome).toBe("ok");
  });

  test("a handler that cannot be iterated is an error inside", async () => {
    const call = testCall();
    const invoke = invokeOf({ watchCrates: (() => ({})) as never });
    expect(await thrownBy(drain(invoke.stream(methods.watchCrates, watchRequest, call)))).toMatchObject({
      code: Code.Internal,
    });
    expect(call.record.error).toBeInstanceOf(TypeError);
  });
});

describe("what an answer lacks", () => {
  const cause = new Error("no keepers");
  const dead = new PublicError("SERVICE_UNAVAILABLE", undefined, { cause });
  const lacking = ({ missing }: Call) => {
    const crate = create(pub.CrateSchema);
    missing.add(crate, "keeperName", dead);
    return crate;
  };

  test("is found, and noted for the log with its cause", async () => {
    const call = testCall();
    const invoke = invokeOf({ getCrate: (_, call) => ({ crate: lacking(call) }) });
    await invoke.unary(methods.getCrate, crateRequest, call);
    expect(call.missing.result()?.missing).toMatchObject([{ path: "crate.keeper_name", count: 1 }]);
    expect(call.record).toMatchObject({ outcome: "ok", partial: { count: 1, cause } });
  });

  test("is not noted of an answer that is whole", async () => {
    const call = testCall();
    await invokeOf({}).unary(methods.getCrate, crateRequest, call);
    expect(call.missing.result()).toBeUndefined();
    expect(call.record.partial).toBeUndefined();
  });

  test("is counted over all messages of a stream, also if that fails", async () => {
    const call = testCall({ method: methods.watchCrates });
    const invoke = invokeOf({
      async *watchCrates(_, call) {
        yield { crate: lacking(call) };
        yield {};
        yield { crate: lacking(call) };
        throw new PublicError("CONFLICT");
      },
    });
    await thrownBy(drain(invoke.stream(methods.watchCrates, watchRequest, call)));
    expect(call.missing.result()?.missing).toMatchObject([{ path: "[0,2].crate.keeper_name", count: 2 }]);
    expect(call.record).toMatchObject({ outcome: Code.Aborted, partial: { count: 2, cause } });
  });

  test("is nothing, if the call ends before its answer", async () => {
    const controller = new AbortController();
    const call = testCall({ signal: controller.signal });
    const invoke = invokeOf({
      getCrate: (_, call) => {
        controller.abort(overdue);
        return { crate: lacking(call) };
      },
    });
    expect(await thrownBy(invoke.unary(methods.getCrate, crateRequest, call))).toMatchObject({
      reason: "DEADLINE_EXCEEDED",
    });
    expect(call.record.partial).toBeUndefined();
  });
});

test("an internal message is not what a public handler gives", () => {
  // @ts-expect-error the crate is the internal one
  invokeOf({ getCrate: () => ({ crate: create(internal.CrateSchema) }) });
});

describe("a read mask", () => {
  const { listVaults } = vault.VaultService.method;
  const { name, pin, note } = vault.VaultSchema.field;
  const hidden: Call["hidden"] = new Set([pin]);
  const made = { name: "a", pin: "1", note: "n", front: { number: 1, secrets: [{ title: "t", pin: "2" }] } };
  const maskOf = (...paths: string[]) => create(vault.ListVaultsRequestSchema, { readMask: { paths } });

  /** Whose handler answers with everything, whatever it is told. */
  const careless = (omitted: Call["omitted"][] = []) =>
    invokeIn(
      service(vault.VaultService, {
        getVault: () => ({}),
        listVaults: (_, call) => {
          omitted.push(call.omitted);
          return { vaults: [made], total: 7 };
        },
        async *watchVaults() {},
        updateVault: () => ({}),
        batchUpdateVaults: () => ({}),
        getReport: () => ({}),
        ping: () => ({}),
      }),
    );

  test("keeps out of the answer what was not selected, and what may not be read", async () => {
    const request = maskOf("pin", "note", "front.secrets");
    expect(await careless().unary(listVaults, request, testCall())).toEqual(
      create(vault.ListVaultsResponseSchema, {
        vaults: [{ pin: "1", note: "n", front: { secrets: [{ title: "t", pin: "2" }] } }],
        total: 7,
      }),
    );
    const guarded = testCall({ hidden: new Set([pin, vault.SecretSchema.field.pin]) });
    expect(await careless().unary(listVaults, request, guarded)).toEqual(
      create(vault.ListVaultsResponseSchema, {
        vaults: [{ note: "n", front: { secrets: [{ title: "t" }] } }],
        total: 7,
      }),
    );
  });

  test("tells the handler which fields nobody needs, the same set every time", async () => {
    const omitted: Call["omitted"][] = [];
    const invoke = careless(omitted);
    await invoke.unary(listVaults, maskOf("pin", "note"), testCall({ hidden }));
    await invoke.unary(listVaults, maskOf("note", "pin"), testCall({ hidden }));
    await invoke.unary(listVaults, maskOf(), testCall({ hidden }));
    const [first, second, whole] = omitted;
    expect([name, pin, note].map((field) => first?.has(field))).toEqual([true, true, false]);
    expect(second).toBe(first);
    expect(whole).toBe(hidden);
  });

  test("that leads nowhere ends the call before its handler runs", async () => {
    const omitted: Call["omitted"][] = [];
    const call = testCall();
    const shown = await thrownBy(careless(omitted).unary(listVaults, maskOf("nope"), call));
    expect(shown).toMatchObject({
      reason: "INVALID_FIELDS",
      rawMessage: expect.stringMatching(/^read_mask: "nope"/),
    });
    expect(omitted).toEqual([]);
    expect(call.record.outcome).toBe(Code.InvalidArgument);
  });
});

/** Handlers that answer nothing. */
const nothing = {
  getStatus: () => ({}),
  getCrate: () => ({}),
  listCrates: () => ({}),
  storeCrates: () => ({}),
  async *watchCrates() {},
};

function invokeOf(handlers: Partial<Handlers<typeof pub.WarehouseService>>): Invoke {
  return invokeIn(service(pub.WarehouseService, { ...nothing, ...handlers }));
}

function invokeIn(whole: PublicService, streamIdleMs = 60_000): Invoke {
  const methods = createMethodTable([whole]);
  return createInvoke({
    methods,
    permit: createPermit(createValidate([...methods.keys()].map(({ input }) => input))),
    cached: createCachedAnswers(undefined, 1_000),
    audit: createAudit(pino({ level: "silent" })),
    streamIdleMs,
  });
}

async function* from<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}
