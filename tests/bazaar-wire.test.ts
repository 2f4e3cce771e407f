import { fileURLToPath } from "node:url";
import {
  create,
  createRegistry,
  type DescMessage,
  type DescMethod,
  fromBinary,
  fromJsonString,
  type JsonValue,
  type MessageInitShape,
  type MessageShape,
  toBinary,
  toJson,
  toJsonString,
} from "@bufbuild/protobuf";
import { anyPack, DurationSchema, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Client, credentials, Metadata } from "@grpc/grpc-js";
import { loadSync, type ServiceDefinition } from "@grpc/proto-loader";
import * as fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { canary, withoutSecrets } from "./bazaar/canaries.ts";
import { purchaseOf } from "./bazaar/data.ts";
import { charms, curios, pub, pubCharms, pubCurios, pubRelics, purchases, relics } from "./bazaar/protos.ts";
import { type Bazaar, startBazaar } from "./bazaar/system.ts";
import { arbitraryMessage } from "./other-protos/arbitrary-message.ts";
import { type RawAnswer, rawCall, textOf, type Way, ways } from "./raw-call.ts";

// What arrives of every shape that protobuf has, by every protocol, with clients that are none of ours.

let bazaar: Bazaar;
let tokens: Readonly<Record<"keeper" | "visitor", string>>;
beforeAll(async () => {
  bazaar = await startBazaar();
  tokens = { keeper: await tokenOf("keeper"), visitor: await tokenOf("visitor") };
});
afterAll(() => bazaar[Symbol.asyncDispose]());
beforeEach(() => {
  bazaar.servers.behave({});
  bazaar.servers.forgetCalls();
});

/** What JSON has to know of to write an `Any`. */
const registry = createRegistry(DurationSchema);

/** Always the same ones, so that a failure can be looked at. */
const samples = fc.sample(arbitraryMessage(curios.CurioSchema), { seed: 4, numRuns: 12 });

describe.each(ways)("over %s", (way) => {
  test("every curio comes as it is, without its secrets", async () => {
    for (const curio of samples) {
      bazaar.servers.behave({ curio });
      const { getCurio } = pubCurios.CuriosService.method;
      const wanted = create(curios.GetCurioResponseSchema, {
        curio: withoutSecrets(curios.CurioSchema, curio),
      });
      expect(await answerOf(way, getCurio, {})).toEqual(
        wireBytes(way, curios.GetCurioResponseSchema, wanted),
      );
    }
  });

  test("every curio that is sent is kept as it is, and comes back", async () => {
    for (const sample of samples) {
      const curio = publicOf(sample);
      const { storeCurio } = pubCurios.CuriosService.method;
      const bytes = await answerOf(way, storeCurio, { curio });
      const sent = create(pubCurios.StoreCurioResponseSchema, { curio });
      expect(bytes).toEqual(wireBytes(way, pubCurios.StoreCurioResponseSchema, sent));
      const kept = bazaar.servers.calls().at(-1)?.request as curios.StoreCurioRequest;
      expect(bytesOf(curios.StoreCurioRequestSchema, kept)).toEqual(bytes);
    }
  });

  test("a relic comes with the values, groups and enums that it has", async () => {
    bazaar.servers.behave({ relic: fullRelic() });
    expect(await jsonOf(way, pubRelics.RelicsService.method.getRelic, { id: "x" })).toEqual({
      relic: {
        id: "relic",
        stand: { height: 0 },
        year: "-9007199254740993",
        maker: "unknown",
        worth: "Infinity",
        weight: "NaN",
        metal: "METAL_GOLD",
        alloys: ["METAL_IRON", "METAL_GOLD"],
        polishByPart: { lid: "POLISH_BRIGHT", "": "POLISH_UNSPECIFIED" },
        dents: ["-9223372036854775808", "9223372036854775807"],
        shard: [{ text: "a", splinter: [{ length: 1 }, {}] }, {}],
        grave: { row: 0 },
        copyOf: { id: "", stand: { height: -1 }, maker: "", metal: "METAL_IRON", whole: false },
        whole: true,
      },
    });
  });

  test("a relic that has nothing else comes with what is required", async () => {
    bazaar.servers.behave({ relic: create(relics.RelicSchema, { id: "", stand: { height: 7 } }) });
    expect(await jsonOf(way, pubRelics.RelicsService.method.getRelic, { id: "x" })).toEqual({
      relic: { id: "", stand: { height: 7 }, maker: "unknown" },
    });
  });

  test("a charm comes with the presence and the encoding of the public side", async () => {
    bazaar.servers.behave({ charm: fullCharm() });
    expect(await jsonOf(way, pubCharms.CharmsService.method.getCharm, { name: "x" })).toEqual({
      charm: {
        name: "charm",
        rune: "",
        serial: "18446744073709551615",
        luck: -7,
        bead: { colour: "red", holes: 0 },
        beads: [{ colour: "", holes: 1 }],
        beadsByPlace: { "-3": { colour: "blue", holes: 0 } },
        wish: "WISH_UNSPECIFIED",
        stone: "STONE_JADE",
        stones: ["STONE_AMBER", "STONE_JADE"],
        pearl: { colour: "white", holes: 0 },
        twin: { rune: "b", serial: "0", wish: "WISH_WEALTH", stone: "STONE_AMBER" },
        findTime: "2023-11-14T22:13:20.001Z",
      },
    });
  });

  test("a purchase comes with everything that is joined to it", async () => {
    const { getPurchase } = pub.BazaarService.method;
    expect(await jsonOf(way, getPurchase, { id: "purchase-3" })).toEqual({
      purchase: {
        id: "purchase-3",
        title: "article 3",
        total: { currencyCode: "EUR", units: "9007199254740995", nanos: 10 },
        state: "STATE_SHIPPED",
        purchaseTime: "2023-11-14T22:13:20.003Z",
        items: [
          { title: "string", count: 3, price: { currencyCode: "EUR", units: "1" } },
          { title: "paper" },
        ],
        fees: { customs: { currencyCode: "EUR", units: "3" }, "a.b": { currencyCode: "USD" } },
        cardTail: "1234",
        haggleCount: "3",
        source: "bazaar",
        shopperName: "Shopper 3",
        shopperMail: "shopper-3@bazaar.test",
        companyName: "Company 3",
        shopper: {
          name: "Shopper 3",
          nickname: "nick 3",
          rank: "RANK_STRANGER",
          company: {
            name: "Company 3",
            town: "Town 3",
            sector: "SECTOR_TRADE",
            staffCount: 3,
            ownerName: "Company 0",
          },
          visits: [{ day: 1 }, { day: 3 }],
        },
        stallSign: "Stall 4",
        shelfLabel: "hall-3/4",
        lanternColour: "colour 4",
        notes: [
          { text: "note 1", authorName: "Shopper 1" },
          { text: "note 2", authorName: "Shopper 2" },
        ],
        starCount: 3,
      },
    });
  });

  test("only the fields that a read mask names come, in whatever form they are nested", async () => {
    const paths = ["items.price.units", "fees.*.nanos", "shopper.company.owner_name", "card_tail"];
    const { getPurchase } = pub.BazaarService.method;
    expect(await jsonOf(way, getPurchase, { id: "purchase-3", readMask: { paths } })).toEqual({
      purchase: {
        items: [{ price: { units: "1" } }, {}],
        fees: { customs: {}, "a.b": {} },
        cardTail: "1234",
        shopper: { company: { ownerName: "Company 0" } },
      },
    });
  });

  test.each<[string, purchases.Purchase["payment"], object]>([
    ["a voucher", { case: "voucherCode", value: "" }, { voucher: "" }],
    ["a phase", { case: "duePhase", value: purchases.Phase.BROUGHT_BACK }, { dueState: "STATE_RETURNED" }],
    [
      "a phase that the public has no word for",
      { case: "duePhase", value: purchases.Phase.FRAUD },
      { dueState: "STATE_UNSPECIFIED" },
    ],
    ["a case that the public must not see", { case: "secretToken", value: new Uint8Array([1]) }, {}],
    ["nothing", { case: undefined }, {}],
  ])("of a oneof that holds %s, the public sees its own case", async (_, payment, wanted) => {
    bazaar.servers.behave({ purchase: (number) => purchaseOf(number, { payment }) });
    const paths = ["card_tail", "voucher", "due_state"];
    const { getPurchase } = pub.BazaarService.method;
    expect(await jsonOf(way, getPurchase, { id: "purchase-3", readMask: { paths } })).toEqual({
      purchase: wanted,
    });
  });

  test("what is recorded is recorded in the words of the internal side", async () => {
    const { recordPurchase } = pub.BazaarService.method;
    await answerOf(way, recordPurchase, {
      title: "lamp",
      total: { currencyCode: "EUR", units: -1n, nanos: -5 },
      state: pub.State.RETURNED,
      items: [{ title: "oil", price: { units: 2n } }, {}],
      fees: { "": { nanos: 1 } },
      settlement: { case: "cardTail", value: "9" },
      shopperId: -(2n ** 63n),
    });
    const call = bazaar.servers.calls().find(({ method }) => method === "RecordPurchase");
    expect(call && toJson(purchases.RecordPurchaseRequestSchema, call.request as never)).toEqual({
      purchase: {
        article: "lamp",
        price: { currency: "EUR", units: "-1", nanos: -5 },
        phase: "PHASE_BROUGHT_BACK",
        lines: [{ article: "oil", price: { units: "2" } }, {}],
        fees: { "": { nanos: 1 } },
        card: { tail: "9" },
        shopperId: "-9223372036854775808",
      },
    });
  });

  test("a filter is handed on in its own message", async () => {
    const { listPurchases } = pub.BazaarService.method;
    const request = create(pub.ListPurchasesRequestSchema, {
      pageSize: 1,
      states: [pub.State.OPEN, pub.State.UNSPECIFIED],
      buyer: { case: "shopperId", value: 0n },
      fromTime: timestampFromMs(5),
    });
    await answerOf(way, listPurchases, request);
    const call = bazaar.servers.calls().find(({ method }) => method === "ListPurchases");
    expect(call && toJson(purchases.ListPurchasesRequestSchema, call.request as never)).toEqual({
      pageSize: 1,
      filter: {
        phases: ["PHASE_OPEN", "PHASE_UNSPECIFIED"],
        shopperId: "0",
        fromTime: "1970-01-01T00:00:00.005Z",
      },
    });
  });

  test("an enum that nobody knows is refused by name", async () => {
    const { recordPurchase } = pub.BazaarService.method;
    const answer = await call(way, recordPurchase, { state: 99 as pub.State });
    expect([answer.code, answer.message]).toEqual(["invalid_argument", expect.stringContaining("state")]);
  });

  test("no secret is in any answer, for anyone", async () => {
    const curio = samples.find(({ knob }) => knob !== undefined) ?? create(curios.CurioSchema);
    bazaar.servers.behave({ curio, relic: fullRelic(), charm: fullCharm() });
    for (const role of ["keeper", "visitor"] as const) {
      for (const [method, request] of requests) {
        const answer = await call(way, method, request, role);
        expect([method.name, textOf(answer).includes(canary)]).toEqual([method.name, false]);
        if (role === "keeper") expect([method.name, answer.code]).toEqual([method.name, "ok"]);
      }
    }
  });

  test("an Any with an internal message stays inside", async () => {
    const oneAny = anyPack(curios.KnobSchema, create(curios.KnobSchema, { secretCode: canary }));
    bazaar.servers.behave({ curio: create(curios.CurioSchema, { oneAny, oneInt32: 5 }) });
    const answer = await call(way, pubCurios.CuriosService.method.getCurio, {});
    expect(answer.code).toBe("ok");
    for (const hidden of [canary, "internal.bazaar", "Knob"]) expect(textOf(answer)).not.toContain(hidden);
  });

  test("what lies too deep in itself is refused, and what does not is answered", async () => {
    const { getCurio, storeCurio } = pubCurios.CuriosService.method;
    for (const [depth, codes] of [
      [50, ["ok"]],
      [300, ["invalid_argument", "internal", "resource_exhausted"]],
    ] as const) {
      bazaar.servers.behave({ curio: deep(curios.CurioSchema, depth) });
      expect(codes).toContain((await call(way, getCurio, {})).code);
      const { code } = await call(way, storeCurio, { curio: deep(pubCurios.CurioSchema, depth) });
      expect(codes).toContain(code);
    }
    bazaar.servers.behave({});
    expect((await call(way, getCurio, {})).code).toBe("ok");
  });
});

test("a client that has the proto files alone reads the same", async () => {
  const verdict = create(curios.VerdictSchema, { case: "x" });
  const curio = create(curios.CurioSchema, {
    oneInt64: -(2n ** 63n),
    oneJsInt64: "9007199254740993",
    oneFloat: Number.NaN,
    grip: { case: "gripKnob", value: { name: "round" } },
    knobsByName: { "a.b": { size: 3 } },
    trap: {
      constructor$: "c",
      // Else the library takes the functions of every object for these.
      hasOwnProperty: "h",
      isPrototypeOf: "i",
      toString$: "s",
      Proto: "p",
      case: { case: "undefined", value: verdict },
    },
    wrappedBool: false,
  });
  bazaar.servers.behave({ curio });
  const folders = ["tests/protos", "proto", "third_party"].map((folder) =>
    fileURLToPath(new URL(`../${folder}`, import.meta.url)),
  );
  const loaded = loadSync("acme/api/bazaar/curios/v1/curios_service.proto", {
    includeDirs: folders,
    longs: String,
    oneofs: true,
    enums: String,
  });
  const service = loaded["acme.api.bazaar.curios.v1.CuriosService"] as ServiceDefinition | undefined;
  if (service?.["GetCurio"] === undefined) throw new Error("the proto files have no such method");
  const { path, requestSerialize, responseDeserialize } = service["GetCurio"];
  const client = new Client(new URL(bazaar.url).host, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${tokens.keeper}`);
  const answer = await new Promise<unknown>((resolve, reject) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, metadata, (error, message) =>
      error === null ? resolve(message) : reject(error),
    );
  }).finally(() => client.close());
  expect(answer).toMatchObject({
    curio: {
      oneInt64: "-9223372036854775808",
      oneJsInt64: "9007199254740993",
      oneFloat: Number.NaN,
      grip: "gripKnob",
      gripKnob: { name: "round" },
      knobsByName: { "a.b": { size: 3 } },
      trap: { constructor: "c", toString: "s", hasOwnProperty: "h", undefined: { case: "x" } },
      wrappedBool: {},
    },
  });
});

/** A request of each method. */
const requests: readonly (readonly [DescMethod, MessageInitShape<DescMessage>])[] = [
  [pub.BazaarService.method.listPurchases, { pageSize: 20 }],
  [pub.BazaarService.method.listReceipts, { pageSize: 20 }],
  [pub.BazaarService.method.getPurchase, { id: "purchase-1" }],
  [pub.BazaarService.method.recordPurchase, { title: "lamp" }],
  [pub.BazaarService.method.watchPurchases, { count: 3 }],
  [pubCurios.CuriosService.method.getCurio, {}],
  [pubCurios.CuriosService.method.storeCurio, { curio: {} }],
  [pubRelics.RelicsService.method.getRelic, { id: "x" }],
  [pubCharms.CharmsService.method.getCharm, { name: "x" }],
];

function call<M extends DescMethod>(
  way: Way,
  method: M,
  request: MessageInitShape<M["input"]>,
  role: keyof typeof tokens = "keeper",
): Promise<RawAnswer> {
  return rawCall(bazaar.url, method, request, { way, token: tokens[role] });
}

/** The bytes of the answer; of JSON, those that it stands for. */
async function answerOf<M extends DescMethod>(
  way: Way,
  method: M,
  request: MessageInitShape<M["input"]>,
): Promise<Buffer> {
  const { code, message, messages } = await call(way, method, request);
  expect([code, message]).toEqual(["ok", ""]);
  const body = messages[0] ?? Buffer.alloc(0);
  const { output }: { output: DescMessage } = method;
  return way === "connect+json"
    ? bytesOf(output, fromJsonString(output, body.toString(), { registry }))
    : body;
}

/** The answer as JSON, by whatever protocol it came. */
async function jsonOf<M extends DescMethod>(
  way: Way,
  method: M,
  request: MessageInitShape<M["input"]>,
): Promise<JsonValue> {
  const { output }: { output: DescMessage } = method;
  return toJson(output, fromBinary(output, await answerOf(way, method, request)));
}

/** What the public would send to have this curio kept. */
function publicOf(curio: curios.Curio): pubCurios.Curio {
  const bare = withoutSecrets(curios.CurioSchema, curio);
  return fromBinary(pubCurios.CurioSchema, toBinary(curios.CurioSchema, bare));
}

function deep<D extends typeof curios.CurioSchema | typeof pubCurios.CurioSchema>(desc: D, depth: number) {
  let curio = create(desc);
  for (let level = 1; level < depth; level++) curio = create(desc, { inner: curio } as MessageInitShape<D>);
  return curio;
}

function fullRelic(): relics.Relic {
  return create(relics.RelicSchema, {
    id: "relic",
    stand: { height: 0 },
    year: -9_007_199_254_740_993n,
    worth: Number.POSITIVE_INFINITY,
    weight: Number.NaN,
    metal: relics.Metal.SECRET,
    alloys: [relics.Metal.IRON, relics.Metal.GOLD],
    polishByPart: { lid: relics.Polish.BRIGHT, "": relics.Polish.UNSPECIFIED },
    dents: [-(2n ** 63n), 2n ** 63n - 1n],
    shard: [{ text: "a", splinter: [{ length: 1 }, {}] }, {}],
    origin: { case: "grave", value: { row: 0 } },
    copyOf: { id: "", stand: { height: -1 }, maker: "", metal: relics.Metal.IRON, whole: false },
    whole: true,
  });
}

function fullCharm(): charms.Charm {
  return create(charms.CharmSchema, {
    name: "charm",
    serial: 2n ** 64n - 1n,
    luck: -7,
    bead: { colour: "red" },
    beads: [{ holes: 1 }],
    beadsByPlace: { [-3]: { colour: "blue" } },
    wish: charms.Wish.HEALTH,
    stone: charms.Stone.JADE,
    stones: [charms.Stone.AMBER, charms.Stone.JADE],
    power: { case: "powerBead", value: { colour: "white" } },
    twin: { rune: "b", serial: 0n, wish: charms.Wish.WEALTH, stone: charms.Stone.AMBER },
    findTime: timestampFromMs(1_700_000_000_001),
  });
}

async function tokenOf(role: "keeper" | "visitor"): Promise<string> {
  return (await bazaar.headers(role))["authorization"]?.replace("Bearer ", "") ?? "";
}

/** The bytes of what a protocol can carry: JSON has no negative zero. */
function wireBytes<D extends DescMessage>(way: Way, desc: D, message: MessageShape<D>): Buffer {
  if (way !== "connect+json") return bytesOf(desc, message);
  return bytesOf(desc, fromJsonString(desc, toJsonString(desc, message, { registry }), { registry }));
}

function bytesOf<D extends DescMessage>(desc: D, message: MessageShape<D>): Buffer {
  return Buffer.from(toBinary(desc, message));
}
