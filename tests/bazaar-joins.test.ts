import { fromBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, decodeBinaryHeader } from "@connectrpc/connect";
import { loader, related, view } from "@portico/gateway";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  type MissingPart,
  PartialResultSchema,
} from "../packages/gateway/src/gen/portico/api/v1/partial_result_pb.ts";
import { grpcClient } from "./bazaar/clients.ts";
import { companyCount, purchaseCount, purchaseOf, shopperCount, stallCount } from "./bazaar/data.ts";
import { shoppersById } from "./bazaar/loaders.ts";
import { type companies, type places, pub, purchases, type shoppers } from "./bazaar/protos.ts";
import type { RecordedCall } from "./bazaar/routes.ts";
import { type Bazaar, startBazaar } from "./bazaar/system.ts";
import { together } from "./bazaar/together.ts";
import { stallsUpstream } from "./bazaar/upstreams.ts";

// How many calls a join makes, in which order and which of them at once; and what becomes of an answer that lacks some.

let bazaar: Bazaar;
beforeAll(async () => {
  bazaar = await startBazaar();
});
afterAll(() => bazaar[Symbol.asyncDispose]());
beforeEach(() => {
  bazaar.servers.behave({});
  bazaar.servers.forgetCalls();
});

describe("a page of 500 purchases of 200 shoppers of 50 companies", () => {
  test("takes three calls in three levels", async () => {
    const client = await grpcClient(bazaar, pub.BazaarService);
    const { receipts } = await client.listReceipts({ pageSize: 500 });

    expect(receipts).toHaveLength(purchaseCount);
    for (const [index, { id, shopperName, companyName }] of receipts.entries()) {
      const shopper = (index + 1) % shopperCount;
      const wanted = [`purchase-${index + 1}`, `Shopper ${shopper}`, `Company ${shopper % companyCount}`];
      expect([id, shopperName, companyName]).toEqual(wanted);
    }
    const calls = bazaar.servers.calls();
    expect(namesOf(calls)).toEqual(["ListPurchases", "BatchGetShoppers", "BatchGetCompanies"]);
    expectLevels(calls, [["ListPurchases"], ["BatchGetShoppers"], ["BatchGetCompanies"]]);
    expect(requestOf<shoppers.BatchGetShoppersRequest>(calls, "BatchGetShoppers").ids).toHaveLength(200);
  });

  test("takes one call, if no field is selected that needs another", async () => {
    const client = await grpcClient(bazaar, pub.BazaarService);
    const { receipts } = await client.listReceipts({ pageSize: 500, readMask: { paths: ["id", "title"] } });
    expect(receipts).toHaveLength(purchaseCount);
    expect(receipts[0]).toMatchObject({ id: "purchase-1", title: "article 1", shopperName: "" });
    expect(namesOf(bazaar.servers.calls())).toEqual(["ListPurchases"]);
  });

  test("takes two calls, if only the first relation is selected", async () => {
    const client = await grpcClient(bazaar, pub.BazaarService);
    await client.listReceipts({ pageSize: 500, readMask: { paths: ["shopper_name"] } });
    expect(namesOf(bazaar.servers.calls())).toEqual(["ListPurchases", "BatchGetShoppers"]);
  });
});

describe("a page with everything about the purchases", () => {
  test("asks all services of a level at once, and each level after the one before", async () => {
    bazaar.servers.behave({
      before: together({
        BatchGetShoppers: 1,
        // Two, since there are more keys than go into one call.
        BatchGetShelves: 2,
        BatchGetStalls: 0,
        ListLanterns: 1,
        ListNotes: 2,
      }),
    });
    const client = await grpcClient(bazaar, pub.BazaarService);
    const { purchases: page } = await client.listPurchases({ pageSize: 500 });

    expect(page).toHaveLength(purchaseCount);
    const counts = countsOf(bazaar.servers.calls());
    expect(counts).toMatchObject({
      ListPurchases: 1,
      BatchGetShoppers: 1,
      BatchGetShelves: 2,
      ListLanterns: 2,
      // Four pages for the half of the purchases that has notes, one for the other.
      ListNotes: 5,
      // The companies, and then their owner, which is one of them.
      BatchGetCompanies: 1,
    });
    expectLevels(bazaar.servers.calls(), [["ListPurchases"], ["BatchGetShoppers"], ["BatchGetCompanies"]]);
    expect(page[6]).toMatchObject({
      id: "purchase-7",
      shopperName: "Shopper 7",
      shopperMail: "shopper-7@bazaar.test",
      companyName: "Company 7",
      shopper: {
        name: "Shopper 7",
        nickname: "nick 7",
        rank: pub.Rank.STRANGER,
        company: {
          name: "Company 7",
          town: "Town 7",
          sector: pub.Sector.TRADE,
          staffCount: 7,
          ownerName: "Company 0",
        },
        visits: [{ day: 1 }, { day: 7 }],
      },
      stallSign: "Stall 8",
      shelfLabel: "hall-2/2",
      lanternColour: "colour 1",
      notes: [
        { text: "note 1", authorName: "Shopper 1" },
        { text: "note 2", authorName: "Shopper 2" },
      ],
      starCount: 3,
    });
    expect(page[300]).toMatchObject({ notes: [], starCount: 0, shopper: { nickname: "nick 101" } });
    // What is not set has the default of the internal side.
    expect(page[299]).toMatchObject({ shopper: { nickname: "friend", rank: pub.Rank.REGULAR } });
  });

  test("fetches nothing for a field that the caller may not read", async () => {
    const visitor = await grpcClient(bazaar, pub.BazaarService, "visitor");
    const { purchases: page } = await visitor.listPurchases({
      pageSize: 10,
      readMask: { paths: ["id", "shopper_mail"] },
    });
    expect(page.map(({ shopperMail }) => shopperMail)).toEqual(page.map(() => ""));
    expect(namesOf(bazaar.servers.calls())).toEqual(["ListPurchases"]);
  });
});

describe("a service without its batch rpc", () => {
  test("is asked for each entity, a few at a time, and for its batch rpc no more", async () => {
    const fresh = createStalls();
    const receipts = stallReceipts(fresh, { onMissing: "empty" });
    await using bazaar = await startBazaar({ receipts });
    bazaar.servers.behave({ before: together({ GetStall: 4 }) });
    const client = await grpcClient(bazaar, pub.BazaarService);
    const signs = async () =>
      (await client.listReceipts({ pageSize: 500 })).receipts.map(({ shopperName }) => shopperName);

    const first = await signs();
    expect(first.slice(0, 3)).toEqual(["Stall 2", "Stall 3", "Stall 4"]);
    expect(countsOf(bazaar.servers.calls())).toEqual({
      ListPurchases: 1,
      BatchGetStalls: 1,
      GetStall: stallCount,
    });
    expect(mostAtOnce(bazaar.servers.calls().filter(({ method }) => method === "GetStall"))).toBe(4);

    bazaar.servers.forgetCalls();
    expect(await signs()).toEqual(first);
    expect(countsOf(bazaar.servers.calls())).toEqual({ ListPurchases: 1, GetStall: stallCount });
  });

  test("is asked for no single entities, if its batch rpc fails for another reason", async () => {
    const receipts = stallReceipts(createStalls(), { onMissing: "empty" });
    await using bazaar = await startBazaar({ receipts });
    bazaar.servers.behave({ before: failAt("BatchGetStalls", Code.Unavailable) });
    const client = await grpcClient(bazaar, pub.BazaarService);
    await expect(client.listReceipts({ pageSize: 5 })).rejects.toMatchObject({ code: Code.Unavailable });
    expect(countsOf(bazaar.servers.calls())["GetStall"]).toBeUndefined();
  });
});

describe("when one of several entities cannot be fetched", () => {
  const failing = (method: string, request: unknown) => {
    if (method === "GetStall" && (request as places.GetStallRequest).id === 3n)
      throw new ConnectError("the internal words", Code.Unavailable);
  };

  test("with fail, the call ends in its error", async () => {
    await using bazaar = await startBazaar({
      receipts: stallReceipts(createStalls(), { onMissing: "empty" }),
    });
    bazaar.servers.behave({ before: failing });
    const client = await grpcClient(bazaar, pub.BazaarService);
    const error = await client.listReceipts({ pageSize: 20 }).catch(ConnectError.from);
    expect(error).toMatchObject({ code: Code.Unavailable });
    expect(String(error)).not.toContain("internal words");
  });

  test("with empty, its rows lack it, all others have theirs, and nobody is told", async () => {
    await using bazaar = await startBazaar({
      receipts: stallReceipts(createStalls(), { onMissing: "empty", onError: "empty" }),
    });
    bazaar.servers.behave({ before: failing });
    const { names, missing } = await receiptsOf(bazaar);
    expect(names.slice(0, 4)).toEqual(["Stall 2", "", "Stall 4", "Stall 5"]);
    expect(names.filter((name) => name === "")).toHaveLength(2);
    expect(missing).toEqual([]);
  });

  test("with partial, the answer says which rows lack it, and why", async () => {
    await using bazaar = await startBazaar({
      receipts: stallReceipts(createStalls(), { onMissing: "empty", onError: "partial" }),
    });
    bazaar.servers.behave({ before: failing });
    const { names, missing } = await receiptsOf(bazaar);
    expect(names.filter((name) => name === "")).toHaveLength(2);
    expect(missing).toMatchObject([
      { path: "receipts[1,21].shopper_name", count: 2, code: "unavailable", retryable: true },
    ]);
  });
});

describe("when an entity does not exist", () => {
  const shopperReceipts = (onMissing: "fail" | "empty" | "partial") =>
    view(purchases.PurchaseSchema, pub.ReceiptSchema, {
      title: "article",
      shopperName: related(shoppersById, "shopperId", "name", { onMissing }),
      companyName: related(shoppersById, "shopperId", "companyCode", { onMissing: "empty" }),
    });
  const without = (number: number) => purchaseOf(number, number === 2 ? { shopperId: 77n } : {});

  test("with fail, the call ends in not_found", async () => {
    await using bazaar = await startBazaar({ receipts: shopperReceipts("fail") });
    bazaar.servers.behave({ purchase: without });
    const client = await grpcClient(bazaar, pub.BazaarService);
    await expect(client.listReceipts({ pageSize: 5 })).rejects.toMatchObject({ code: Code.NotFound });
  });

  test("with empty, its row lacks it, and nobody is told", async () => {
    await using bazaar = await startBazaar({ receipts: shopperReceipts("empty") });
    bazaar.servers.behave({ purchase: without });
    const { names, missing } = await receiptsOf(bazaar, 3);
    expect(names).toEqual(["Shopper 1", "", "Shopper 3"]);
    expect(missing).toEqual([]);
  });

  test("with partial, the answer says which row lacks it", async () => {
    await using bazaar = await startBazaar({ receipts: shopperReceipts("partial") });
    bazaar.servers.behave({ purchase: without });
    const { names, missing } = await receiptsOf(bazaar, 3);
    expect(names).toEqual(["Shopper 1", "", "Shopper 3"]);
    expect(missing).toMatchObject([
      { path: "receipts[1].shopper_name", count: 1, code: "not_found", retryable: false },
    ]);
  });

  test("an empty key is not asked for, and lacks nothing", async () => {
    await using bazaar = await startBazaar({ receipts: shopperReceipts("fail") });
    bazaar.servers.behave({ purchase: (number) => purchaseOf(number, { shopperId: 0n }) });
    const { names, missing } = await receiptsOf(bazaar, 2);
    expect(names).toEqual(["", ""]);
    expect(missing).toEqual([]);
    expect(namesOf(bazaar.servers.calls())).toEqual(["ListPurchases"]);
  });
});

test("keys of several parts are told apart, whatever their parts hold", async () => {
  const keys = [
    ["1", 23],
    ["12", 3],
    ["1,2", 3],
    ['1","2', 3],
    ["", 3],
    ["1", 23],
  ] as const;
  bazaar.servers.behave({
    purchase: (number) => {
      const [hallId, shelfNumber] = keys[number - 1] ?? ["", 0];
      return purchaseOf(number, { hallId, shelfNumber });
    },
  });
  const client = await grpcClient(bazaar, pub.BazaarService);
  const { purchases: page } = await client.listPurchases({
    pageSize: keys.length,
    readMask: { paths: ["shelf_label"] },
  });
  // Without a hall there is no shelf.
  const wanted = keys.map(([hallId, number]) => (hallId === "" ? "" : `${hallId}/${number}`));
  expect(page.map(({ shelfLabel }) => shelfLabel)).toEqual(wanted);
  const { keys: asked } = requestOf<places.BatchGetShelvesRequest>(bazaar.servers.calls(), "BatchGetShelves");
  expect(asked).toHaveLength(4);
});

test("when one of the calls that a batch is split into fails, the others' entities are there", async () => {
  let failed = false;
  bazaar.servers.behave({
    before: (method) => {
      if (method !== "BatchGetShelves" || failed) return;
      failed = true;
      throw new ConnectError("the internal words", Code.Unavailable);
    },
  });
  let missing: readonly MissingPart[] = [];
  const client = await grpcClient(bazaar, pub.BazaarService);
  const { purchases: page } = await client.listPurchases(
    { pageSize: 300, readMask: { paths: ["shelf_label"] } },
    {
      onHeader: (headers) => {
        missing = missingIn(headers);
      },
    },
  );
  // There are 30 shelves, of which one call takes 20; each has ten of the purchases.
  const empty = page.filter(({ shelfLabel }) => shelfLabel === "").length;
  expect([100, 200]).toContain(empty);
  expect(missing).toMatchObject([{ count: empty, code: "unavailable", retryable: true }]);
});

test("what is missing deep inside is told by its whole path", async () => {
  bazaar.servers.behave({
    before: (method, request) => {
      const isOwner =
        method === "BatchGetCompanies" &&
        (request as companies.BatchGetCompaniesRequest).codes.includes("company-0");
      if (isOwner) throw new ConnectError("the internal words", Code.ResourceExhausted);
    },
  });
  let missing: readonly MissingPart[] = [];
  const client = await grpcClient(bazaar, pub.BazaarService);
  const { purchases: page } = await client.listPurchases(
    { pageSize: 3, readMask: { paths: ["shopper"] } },
    {
      onHeader: (headers) => {
        missing = missingIn(headers);
      },
    },
  );
  expect(page.map(({ shopper }) => shopper?.company?.name)).toEqual(["Company 1", "Company 2", "Company 3"]);
  expect(missing).toMatchObject([
    { path: "purchases[0-2].shopper.company.owner_name", count: 3, code: "resource_exhausted" },
  ]);
});

test("a service that is down takes its relations with it, and no others", async () => {
  bazaar.servers.behave({ before: failAt("BatchGetShoppers", Code.Unavailable) });
  const { names, missing, receipts } = await receiptsOf(bazaar, 500);
  expect(receipts.map(({ title }) => title)).toContain("article 500");
  expect(names.every((name) => name === "")).toBe(true);
  expect(missing.map(({ path, count }) => [path, count]).sort()).toEqual([
    ["receipts[0-499].company_name", 500],
    ["receipts[0-499].shopper_name", 500],
  ]);
});

/** Stalls as if nobody had asked for them yet: what a loader learns of its service, it remembers. */
function createStalls() {
  return loader(stallsUpstream, {
    batch: { method: "batchGetStalls", request: (ids) => ({ ids }), items: "stalls", key: "id", max: 100 },
    single: { method: "getStall", request: (id) => ({ id }), item: "stall", concurrency: 4 },
  });
}

function stallReceipts(stalls: ReturnType<typeof createStalls>, options: Parameters<typeof related>[3]) {
  return view(purchases.PurchaseSchema, pub.ReceiptSchema, {
    title: "article",
    shopperName: related(stalls, "stallId", "sign", options),
    companyName: "hallId",
  });
}

async function receiptsOf(bazaar: Bazaar, pageSize = 40) {
  const client = await grpcClient(bazaar, pub.BazaarService);
  let missing: readonly MissingPart[] = [];
  const onHeader = (headers: Headers) => {
    missing = missingIn(headers);
  };
  const { receipts } = await client.listReceipts({ pageSize }, { onHeader });
  return { receipts, names: receipts.map(({ shopperName }) => shopperName), missing };
}

function missingIn(headers: Headers): readonly MissingPart[] {
  const header = headers.get("portico-partial-bin");
  return header === null ? [] : fromBinary(PartialResultSchema, decodeBinaryHeader(header)).missing;
}

function failAt(name: string, code: Code): (method: string) => void {
  return (method) => {
    if (method === name) throw new ConnectError("the internal words", code);
  };
}

function namesOf(calls: readonly RecordedCall[]): string[] {
  return calls.map(({ method }) => method);
}

function countsOf(calls: readonly RecordedCall[]): Record<string, number> {
  const groups = Object.groupBy(calls, ({ method }) => method);
  return Object.fromEntries(Object.entries(groups).map(([method, calls = []]) => [method, calls.length]));
}

function requestOf<T>(calls: readonly RecordedCall[], name: string): T {
  // The method says which request it is.
  return calls.find(({ method }) => method === name)?.request as T;
}

/** Every call of a level begins after all of the level before have ended. */
function expectLevels(calls: readonly RecordedCall[], levels: readonly (readonly string[])[]): void {
  const ofLevel = levels.map((names) => calls.filter(({ method }) => names.includes(method)));
  for (const [index, level] of ofLevel.entries()) {
    const before = ofLevel[index - 1] ?? [];
    const ended = Math.max(...before.map(({ ended = Number.POSITIVE_INFINITY }) => ended));
    for (const { began } of level) expect(began).toBeGreaterThan(ended);
  }
}

/** How many calls were under way at the same time, at the most. */
function mostAtOnce(calls: readonly RecordedCall[]): number {
  const underWay = calls.map(
    ({ began }) => calls.filter((other) => other.began <= began && (other.ended ?? began) >= began).length,
  );
  return Math.max(...underWay);
}
