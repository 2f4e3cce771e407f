import {
  Code,
  ConnectError,
  type ConnectRouter,
  createRouterTransport,
  type Transport,
} from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { PublicError, StartError } from "../errors.ts";
import { noSpan, type Span } from "../observe/span.ts";
import { drain, inMemory, testCall, thrownBy } from "../testing/call.ts";
import { internal } from "../testing/protos.ts";
import { warehouse } from "../testing/warehouse.ts";
import { createUpstreamClients } from "./clients.ts";
import { upstream } from "./upstream.ts";

const { method } = internal.WarehouseService;
const overdue = new PublicError("DEADLINE_EXCEEDED");

describe("unary", () => {
  test("answers with the message, and is noted", async () => {
    const call = callOf((router) => router.rpc(method.getCrate, ({ code }) => ({ crate: { code } })));
    expect(await warehouse.getCrate({ code: "A-1" }, call)).toMatchObject({ crate: { code: "A-1" } });
    expect(call.record.upstreamCalls).toEqual([
      {
        call: "warehouse.getCrate",
        durationMs: expect.any(Number),
        outcome: "ok",
        attempts: 1,
        hedged: false,
      },
    ]);
  });

  test("that the upstream does not have is told to operators, until it has it", async () => {
    let lacks = true;
    const call = callOf((router) =>
      router.rpc(method.getCrate, () => {
        if (lacks) throw new ConnectError("no such method", Code.Unimplemented);
        return {};
      }),
    );
    expect(call.upstreams.unimplemented()).toEqual([]);
    for (let times = 0; times < 2; times++) await thrownBy(warehouse.getCrate({}, call));
    expect(call.upstreams.unimplemented()).toEqual(["warehouse.getCrate"]);
    lacks = false;
    await warehouse.getCrate({}, call);
    expect(call.upstreams.unimplemented()).toEqual([]);
  });

  test("sends the request id, and no header of the caller's", async () => {
    let sent: Headers | undefined;
    const call = callOf((router) =>
      router.rpc(method.getCrate, (_request, { requestHeader }) => {
        sent = requestHeader;
        return {};
      }),
    );
    await warehouse.getCrate({}, call);
    expect(sent?.get("x-request-id")).toBe("request-1");
    expect(sent?.has("authorization")).toBe(false);
  });

  test("is a span of the call's trace, which the upstream's own spans are part of", async () => {
    const told: unknown[] = [];
    const span: Span = {
      ...noSpan,
      headers: { traceparent: "00-trace-span-01" },
      set: (...given) => void told.push(given),
      end: (...given) => void told.push(given),
    };
    let sent: Headers | undefined;
    const call = callOf((router) =>
      router.rpc(method.getCrate, (_request, { requestHeader }) => {
        sent = requestHeader;
        return {};
      }),
    );
    const child: Span["child"] = (...given) => {
      told.push(given);
      return span;
    };
    await warehouse.getCrate({}, { ...call, record: { ...call.record, span: { ...span, child } } });
    expect(sent?.get("traceparent")).toBe("00-trace-span-01");
    expect(told).toEqual([
      [
        "acme.internal.warehouse.v1.WarehouseService/GetCrate",
        "client",
        {
          "rpc.system": "grpc",
          "rpc.service": "acme.internal.warehouse.v1.WarehouseService",
          "rpc.method": "GetCrate",
          "portico.upstream": "warehouse",
        },
      ],
      ["portico.attempts", 1],
      ["ok", undefined],
    ]);
  });

  test.each([
    ["the upstream's own time-out", 200, 60_000, 200],
    ["what is left of the call, less what answering takes", 5_000, 1_050, 1_000],
    ["whole milliseconds", 5_000, 1_050.9, 1_000],
  ])("may take %s", async (_, timeoutMs, remaining, expected) => {
    const slow = upstream("slow", internal.WarehouseService, { timeoutMs });
    const seen: (number | undefined)[] = [];
    const transport = createRouterTransport((router) => router.rpc(method.getCrate, () => ({})));
    const spying: Transport = {
      ...transport,
      unary: (desc, signal, ms, header, message, values) => {
        seen.push(ms);
        return transport.unary(desc, signal, ms, header, message, values);
      },
    };
    const upstreams = createUpstreamClients([slow], {
      addresses: {},
      transports: { slow: spying },
      maxResponseBytes: 1,
    });
    await slow.getCrate({}, testCall({ upstreams, remainingMs: () => remaining }));
    expect(seen).toEqual([expected]);
  });

  test("is not sent when the time is over", async () => {
    let asked = 0;
    const call = callOf((router) => router.rpc(method.getCrate, () => ({ crate: { code: `${asked++}` } })));
    const late = { ...call, remainingMs: () => 50 };
    expect(await thrownBy(warehouse.getCrate({}, late))).toMatchObject({
      code: Code.DeadlineExceeded,
      rawMessage: "The time for this call is over.",
    });
    expect(asked).toBe(0);
    expect(call.record.upstreamCalls).toMatchObject([{ outcome: Code.DeadlineExceeded }]);
  });

  test("ends when the call does, and the upstream is told", async () => {
    const controller = new AbortController();
    const [asked, told] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const call = callOf(
      (router) =>
        router.rpc(method.getCrate, async (_request, { signal }) => {
          signal.addEventListener("abort", () => told.resolve());
          asked.resolve();
          await told.promise;
          return {};
        }),
      controller.signal,
    );
    const answer = warehouse.getCrate({}, call);
    await asked.promise;
    controller.abort(overdue);
    expect(await thrownBy(answer)).toBe(overdue);
    await told.promise;
    expect(call.record.upstreamCalls).toMatchObject([{ outcome: Code.DeadlineExceeded }]);
  });

  test("an error is translated and noted", async () => {
    const call = callOf((router) =>
      router.rpc(method.getCrate, () => {
        throw new ConnectError("no row for ada", Code.NotFound, { "x-host": "db-7" });
      }),
    );
    const error = await thrownBy(warehouse.getCrate({}, call));
    expect(error).toBeInstanceOf(PublicError);
    expect(error).toMatchObject({
      code: Code.NotFound,
      rawMessage: "What the request asks for does not exist.",
      details: [],
    });
    expect([...(error as PublicError).metadata]).toEqual([]);
    expect(call.record.upstreamCalls).toMatchObject([{ outcome: Code.NotFound }]);
  });
});

describe("stream", () => {
  test("gives the messages in order, and is noted when it is over", async () => {
    const call = callOf((router) => router.rpc(method.watchCrates, () => crates("A", "B")));
    const codes = (await drain(warehouse.watchCrates({}, call))).map(({ crate }) => crate?.code);
    expect(codes).toEqual(["A", "B"]);
    expect(call.record.upstreamCalls).toEqual([
      {
        call: "warehouse.watchCrates",
        durationMs: expect.any(Number),
        outcome: "ok",
        attempts: 1,
        hedged: false,
      },
    ]);
  });

  test("an error in the middle is translated", async () => {
    const call = callOf((router) =>
      router.rpc(method.watchCrates, async function* () {
        yield* crates("A");
        throw new ConnectError("disk 3", Code.DataLoss);
      }),
    );
    const answers = warehouse.watchCrates({}, call)[Symbol.asyncIterator]();
    expect(await answers.next()).toMatchObject({ value: { crate: { code: "A" } } });
    expect(await thrownBy(answers.next())).toMatchObject({
      code: Code.Internal,
      rawMessage: "The request failed inside the API.",
    });
    expect(call.record.upstreamCalls).toMatchObject([{ outcome: Code.Internal }]);
  });

  test("that is dropped, and not told to stop, gives its place back when the call ends", async () => {
    const controller = new AbortController();
    const call = callOf(
      (router) =>
        router.rpc(method.watchCrates, async function* () {
          yield {};
          yield {};
        }),
      controller.signal,
    );
    const dropped = warehouse.watchCrates({}, call)[Symbol.asyncIterator]();
    await dropped.next();
    expect(call.upstreams.facts()["warehouse"]?.streams).toBe(1);
    controller.abort();
    expect(call.upstreams.facts()["warehouse"]?.streams).toBe(0);
    await thrownBy(dropped.next());
    expect(call.upstreams.facts()["warehouse"]?.streams).toBe(0);
  });

  test("a reader that stops ends the upstream's side, and that is noted", async () => {
    const ended = Promise.withResolvers<void>();
    const call = callOf((router) =>
      router.rpc(method.watchCrates, async function* (_request, { signal }) {
        signal.addEventListener("abort", () => ended.resolve());
        yield* crates("A");
        await ended.promise;
      }),
    );
    for await (const { crate } of warehouse.watchCrates({}, call)) {
      expect(crate?.code).toBe("A");
      break;
    }
    await ended.promise;
    expect(call.record.upstreamCalls).toMatchObject([
      { call: "warehouse.watchCrates", outcome: Code.Canceled },
    ]);
  });

  test("is not opened when the time is over", async () => {
    const call = { ...callOf(() => {}), remainingMs: () => -1 };
    expect(await thrownBy(drain(warehouse.watchCrates({}, call)))).toMatchObject({
      code: Code.DeadlineExceeded,
    });
  });
});

describe("createUpstreamClients", () => {
  const options = { addresses: {}, maxResponseBytes: 1_024 };

  test("refuses an upstream without an address", async () => {
    for (const addresses of [{}, { warehouse: [] }]) {
      const error = await thrownBy(() => createUpstreamClients([warehouse], { ...options, addresses }));
      expect(error).toBeInstanceOf(StartError);
      expect(error).toMatchObject({ problems: ["the upstream warehouse has no address"] });
    }
  });

  test("refuses two of one name", async () => {
    expect(await thrownBy(() => inMemory([warehouse, warehouse], () => {}))).toMatchObject({
      problems: ["there are two upstreams named warehouse: rename one"],
    });
  });

  test("refuses a certificate that cannot be, along with everything else", async () => {
    const addresses = { warehouse: [new URL("https://127.0.0.1:1")] };
    const other = upstream("other", internal.WarehouseService);
    const make = () =>
      createUpstreamClients([warehouse, other], {
        ...options,
        addresses,
        tls: { ca: "no PEM", cert: "no PEM" },
      });
    expect(await thrownBy(make)).toMatchObject({
      problems: [
        expect.stringMatching(/^tls must be PEM that belongs together/),
        "the upstream other has no address",
      ],
    });
  });

  test("an upstream that it was not given is an error inside", async () => {
    const call = testCall({ upstreams: inMemory([], () => {}) });
    expect(await thrownBy(warehouse.getCrate({}, call))).toMatchObject({
      code: Code.Internal,
      cause: {
        message: "the upstream warehouse failed",
        cause: {
          message: "the upstream warehouse is not in the list given to createGateway({ upstreams })",
        },
      },
    });
  });

  test("opens no connection before it is needed, and closes what it has", () => {
    const addresses = { warehouse: [new URL("http://127.0.0.1:1")] };
    const clients = createUpstreamClients([warehouse], { ...options, addresses });
    expect(Object.keys(clients.states())).toEqual(["warehouse"]);
    clients.close();
    expect(inMemory([warehouse], () => {}).states()).toEqual({});
  });

  test("tells what operators want to know of each upstream", () => {
    const addresses = { warehouse: [new URL("http://127.0.0.1:1")] };
    const clients = createUpstreamClients([warehouse], { ...options, addresses });
    expect(clients.facts()).toEqual({
      warehouse: {
        session: expect.objectContaining({ opened: 0, lost: 0 }),
        inFlight: 0,
        streams: 0,
        limit: 256,
        refused: 0,
        breaker: "closed",
        breakerOpened: 0,
        retries: 0,
        retriesDenied: 0,
        hedges: 0,
      },
    });
    clients.close();
  });

  test("an upstream where nothing listens is unavailable, and its address stays inside", async () => {
    const addresses = { warehouse: [new URL("http://127.0.0.1:1")] };
    const upstreams = createUpstreamClients([warehouse], { ...options, addresses });
    const error = await thrownBy(warehouse.getCrate({}, testCall({ upstreams })));
    upstreams.close();
    expect(error).toMatchObject({
      code: Code.Unavailable,
      rawMessage: "A service that this request needs is not available. Try again shortly.",
    });
    expect((error as PublicError).message).not.toContain("127.0.0.1");
  });
});

function callOf(routes: (router: ConnectRouter) => void, signal = new AbortController().signal) {
  return testCall({ upstreams: inMemory([warehouse], routes), signal });
}

async function* crates(...codes: string[]) {
  for (const code of codes) yield { crate: { code } };
}
