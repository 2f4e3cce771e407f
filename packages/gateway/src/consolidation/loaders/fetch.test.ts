import { setImmediate } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { PublicError } from "../../errors.ts";
import { inMemory, testCall, thrownBy } from "../../testing/call.ts";
import { internal } from "../../testing/protos.ts";
import { warehouse } from "../../testing/warehouse.ts";
import { createFetch, type Fetch } from "./fetch.ts";
import { entityKey } from "./key.ts";
import { createLoaderScope, groupLoader, loader } from "./loader.ts";

const cratesBySerial = loader(warehouse, {
  batch: {
    method: "batchGetCrates",
    request: (serials) => ({ serials }),
    items: "crates",
    key: "serial",
    max: 2,
  },
  single: {
    method: "getCrate",
    request: (serial) => ({ code: String(serial) }),
    item: "crate",
    concurrency: 2,
  },
  all: {
    method: "listCrates",
    request: (pageToken) => ({ pageToken }),
    items: "crates",
    key: "serial",
    nextPageToken: "nextPageToken",
  },
});

/** A warehouse that has some of the methods, and what it was asked. */
function start(...methods: readonly ("batch" | "single" | "all")[]) {
  const asked: string[] = [];
  const has = (method: "batch" | "single" | "all", what: string): void => {
    asked.push(`${method} ${what}`.trim());
    if (!methods.includes(method)) throw new ConnectError("not here", Code.Unimplemented);
  };
  const crateOf = (serial: bigint) => ({ serial, code: `c${serial}` });
  const upstreams = inMemory([warehouse], (router) => {
    const { batchGetCrates, getCrate, listCrates } = internal.WarehouseService.method;
    router.rpc(batchGetCrates, ({ serials }) => {
      has("batch", String(serials));
      return { crates: serials.filter((serial) => serial < 9n).map(crateOf) };
    });
    router.rpc(getCrate, ({ code }) => {
      has("single", code);
      if (code === "9") throw new ConnectError("no such crate", Code.NotFound);
      if (code === "8") throw new ConnectError("db row 5", Code.Unavailable);
      return { crate: crateOf(BigInt(code)) };
    });
    router.rpc(listCrates, ({ pageToken }) => {
      has("all", pageToken);
      return pageToken === ""
        ? { crates: [crateOf(1n), crateOf(2n)], nextPageToken: "2" }
        : { crates: [crateOf(3n)] };
    });
  });
  return {
    asked,
    upstreams,
    load: (...serials: readonly bigint[]) => cratesBySerial.load(serials, testCall({ upstreams })),
  };
}

describe("the best way that the upstream has", () => {
  test("is the batch, in parts of max", async () => {
    const { load, asked } = start("batch", "single", "all");
    expect(await load(1n, 2n, 9n)).toMatchObject([{ code: "c1" }, { code: "c2" }, undefined]);
    expect(asked).toEqual(["batch 1,2", "batch 9"]);
  });

  test("is found by trying, and remembered", async () => {
    const { load, asked } = start("all");
    expect(await load(1n, 9n)).toMatchObject([{ code: "c1" }, undefined]);
    expect(asked).toEqual(["batch 1,9", "single 1", "single 9", "all", "all 2"]);
    asked.length = 0;
    expect(await load(3n)).toMatchObject([{ code: "c3" }]);
    expect(asked).toEqual(["all", "all 2"]);
  });

  test("is remembered by each gateway for itself", async () => {
    await start("all").load(1n);
    const { load, asked } = start("batch");
    await load(1n);
    expect(asked).toEqual(["batch 1"]);
  });

  test("is none if the upstream has no way at all", async () => {
    const { load } = start();
    expect(await load(1n)).toMatchObject([{ code: Code.Internal }]);
  });

  test("is not left for any other error", async () => {
    const { upstreams, asked } = start("batch", "all");
    const call = testCall({
      upstreams: {
        ...upstreams,
        unary: async () => {
          asked.push("refused");
          throw new Error("refused");
        },
      },
    });
    expect(await cratesBySerial.load([1n], call)).toMatchObject([{ code: Code.Internal }]);
    expect(asked).toEqual(["refused"]);
  });

  test("is tried again after five minutes, by one call", async () => {
    let time = 0;
    let upgraded = false;
    const asked: string[] = [];
    const unimplemented = await thrownBy(warehouse.getCrate({}, testCall({ upstreams: start().upstreams })));
    const way =
      (name: string, isThere: () => boolean): Fetch =>
      async (keys) => {
        asked.push(name);
        return { found: keys.map(() => (isThere() ? [] : (unimplemented as never))) };
      };
    const fetch = createFetch([way("better", () => upgraded), way("worse", () => true)], () => time);
    const call = testCall();
    const askedBy = async (work: () => Promise<unknown>) => {
      asked.length = 0;
      await work();
      return [...asked];
    };
    const one = () => fetch([entityKey("a")], call);
    expect(await askedBy(one)).toEqual(["better", "worse"]);
    expect(await askedBy(one)).toEqual(["worse"]);
    time = 5 * 60_000;
    expect(await askedBy(() => Promise.all([one(), one()]))).toEqual(["better", "worse", "worse"]);
    expect(await askedBy(one)).toEqual(["worse"]);
    time = 10 * 60_000;
    upgraded = true;
    expect(await askedBy(one)).toEqual(["better"]);
    expect(await askedBy(one)).toEqual(["better"]);
  });
});

describe("single calls", () => {
  test("are made so many at a time, however many keys there are", async () => {
    let running = 0;
    let most = 0;
    const upstreams = inMemory([warehouse], (router) =>
      router.rpc(internal.WarehouseService.method.getCrate, async ({ code }) => {
        running += 1;
        most = Math.max(most, running);
        await new Promise((resolve) => setTimeout(resolve, 5));
        running -= 1;
        return { crate: { code } };
      }),
    );
    const byCode = loader(warehouse, {
      single: { method: "getCrate", request: (code: string) => ({ code }), item: "crate", concurrency: 3 },
    });
    const call = testCall({ upstreams });
    const [codes] = await Promise.all([
      byCode.loadAll(
        Array.from({ length: 10 }, (_, index) => `${index}`),
        call,
      ),
      new Promise((resolve) => setTimeout(resolve, 2)).then(() => byCode.loadAll(["x", "y", "z"], call)),
    ]);
    expect(codes.map((crate) => crate?.code).join("")).toBe("0123456789");
    expect(most).toBe(3);
  });

  test("that wait for their turn are not made when the call has ended", async () => {
    const controller = new AbortController();
    let made = 0;
    const upstreams = inMemory([warehouse], (router) =>
      router.rpc(internal.WarehouseService.method.getCrate, () => {
        made += 1;
        controller.abort(new PublicError("CALLER_LEFT"));
        return {};
      }),
    );
    const byCode = loader(warehouse, {
      single: { method: "getCrate", request: (code: string) => ({ code }), item: "crate", concurrency: 1 },
    });
    const call = testCall({ upstreams, signal: controller.signal });
    expect(await thrownBy(byCode.load(["a", "b", "c"], call))).toMatchObject({ reason: "CALLER_LEFT" });
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    expect(made).toBe(1);
  });

  test("of a loader of many go over all pages", async () => {
    const pages: string[] = [];
    const upstreams = inMemory([warehouse], (router) =>
      router.rpc(internal.WarehouseService.method.listScans, ({ serials, pageToken }) => {
        pages.push(`${serials} ${pageToken}`);
        const [serial = 0n] = serials;
        return { scans: [{ serial, gate: pageToken }], nextPageToken: pageToken === "" ? "2" : "" };
      }),
    );
    const scans = groupLoader(warehouse, {
      single: {
        method: "listScans",
        request: (serial: bigint, pageToken) => ({ serials: [serial], pageToken }),
        items: "scans",
        nextPageToken: "nextPageToken",
      },
    });
    const groups = await scans.loadAll([1n, 2n], testCall({ upstreams }));
    expect(groups.map((scans) => scans.map(({ serial, gate }) => `${serial}${gate}`))).toEqual([
      ["1", "12"],
      ["2", "22"],
    ]);
    expect(pages.toSorted()).toEqual(["1 ", "1 2", "2 ", "2 2"]);
  });

  test("find each key for itself: one that is not there, and one that fails, are nothing to the others", async () => {
    const { load, asked } = start("single");
    const [first, missing, failed] = await load(1n, 9n, 8n);
    expect(first).toMatchObject({ code: "c1" });
    expect(missing).toBeUndefined();
    expect(failed).toMatchObject({ code: Code.Unavailable });
    expect(asked).toEqual(["batch 1,9", "batch 8", "single 1", "single 9", "single 8"]);
  });
});

describe("a whole list", () => {
  test("is fetched once a call for all that is in it", async () => {
    const { upstreams, asked } = start("all");
    const call = testCall({ upstreams });
    await cratesBySerial.load([1n], call);
    asked.length = 0;
    expect(await cratesBySerial.load([2n, 3n], call)).toMatchObject([{ code: "c2" }, { code: "c3" }]);
    expect(asked).toEqual([]);
    await cratesBySerial.load([2n], { ...call, loaders: createLoaderScope("batch") });
    expect(asked).toEqual(["all", "all 2"]);
  });
});

describe("a key of several parts", () => {
  const byPlace = loader(warehouse, {
    all: { method: "listCrates", items: "crates", key: ["position.aisle", "quantity"] },
  });

  test("is equal to another by its parts, wherever they begin and end", async () => {
    const upstreams = inMemory([warehouse], (router) =>
      router.rpc(internal.WarehouseService.method.listCrates, () => ({
        crates: [
          { code: "one", position: { aisle: "A" }, quantity: 11 },
          { code: "two", position: { aisle: "A1" }, quantity: 1 },
          { code: "without" },
        ],
      })),
    );
    const found = await byPlace.loadAll(
      [
        ["A1", 1],
        ["A", 11],
        ["A", 11],
        ["", 0],
      ],
      testCall({ upstreams }),
    );
    expect(found.map((crate) => crate?.code)).toEqual(["two", "one", "one", undefined]);
  });
});
