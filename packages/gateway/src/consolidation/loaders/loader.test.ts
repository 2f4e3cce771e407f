import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { PublicError } from "../../errors.ts";
import { inMemory, testCall, thrownBy } from "../../testing/call.ts";
import { internal } from "../../testing/protos.ts";
import { keepersById, scansBySerial, warehouse, warehouseCall } from "../../testing/warehouse.ts";
import { createLoaderScope, groupLoader, loader } from "./loader.ts";

const cratesBySerial = loader(warehouse, {
  batch: {
    method: "batchGetCrates",
    request: (serials) => ({ serials }),
    items: "crates",
    key: "serial",
    max: 2,
  },
});

describe("loader", () => {
  test("asks once for all keys, each sent once, and answers in their order", async () => {
    const { call, asked } = warehouseCall();
    const keepers = await keepersById.loadAll(["b", "a", "b"], call);
    expect(keepers.map((keeper) => keeper?.name)).toEqual(["B", "A", "B"]);
    expect(asked.keepers).toEqual([["b", "a"]]);
  });

  test("keys that are asked for at the same time travel together, wherever they come from", async () => {
    const { call, asked } = warehouseCall();
    const [[first], [second]] = await Promise.all([
      keepersById.loadAll(["a"], call),
      keepersById.loadAll(["b"], call),
    ]);
    expect([first?.name, second?.name]).toEqual(["A", "B"]);
    expect(asked.keepers).toEqual([["a", "b"]]);
  });

  test("within a call no key travels twice, and between calls nothing is kept", async () => {
    const { call, asked } = warehouseCall();
    await keepersById.loadAll(["a", "b"], call);
    await keepersById.loadAll(["b", "c"], call);
    await keepersById.loadAll(["a"], { ...call, loaders: createLoaderScope("call") });
    expect(asked.keepers).toEqual([["a", "b"], ["c"], ["a"]]);
  });

  test("in a streaming call what a batch fetched is not kept, but still sent once for all who ask", async () => {
    const { call: unary, asked } = warehouseCall();
    const call = { ...unary, loaders: createLoaderScope("batch") };
    await Promise.all([keepersById.loadAll(["a", "b"], call), keepersById.loadAll(["b"], call)]);
    await keepersById.loadAll(["a"], call);
    expect(asked.keepers).toEqual([["a", "b"], ["a"]]);
  });

  test.each([Code.InvalidArgument, Code.NotFound, Code.PermissionDenied, Code.OutOfRange])(
    "a batch that the upstream refuses is nothing that the caller could mend: %i",
    async (code) => {
      const call = testCall({
        upstreams: inMemory([warehouse], (router) =>
          router.rpc(internal.WarehouseService.method.batchGetKeepers, () => {
            throw new ConnectError("the gateway asked badly", code);
          }),
        ),
      });
      expect(await thrownBy(keepersById.loadAll(["a"], call))).toMatchObject({ code: Code.Internal });
    },
  );

  test("a key that the upstream does not know gives undefined", async () => {
    const { call } = warehouseCall();
    const [nobody, ada] = await keepersById.loadAll(["nobody", "ada"], call);
    expect(nobody).toBeUndefined();
    expect(ada?.name).toBe("Ada");
    expect(keepersById.missing).toBeUndefined();
  });

  test("no keys, no call", async () => {
    const { call, asked } = warehouseCall();
    expect(await keepersById.loadAll([], call)).toEqual([]);
    expect(asked.keepers).toEqual([]);
  });

  test("more keys than max are split, and the parts run in parallel", async () => {
    const asked: bigint[][] = [];
    const bothAreThere = Promise.withResolvers<void>();
    const call = callOf((router) =>
      router.rpc(internal.WarehouseService.method.batchGetCrates, async ({ serials }) => {
        asked.push(serials);
        if (asked.length === 2) bothAreThere.resolve();
        await bothAreThere.promise;
        return { crates: serials.map((serial) => ({ serial })) };
      }),
    );
    const crates = await cratesBySerial.loadAll([1n, 2n, 3n], call);
    expect(crates.map((crate) => crate?.serial)).toEqual([1n, 2n, 3n]);
    expect(asked).toEqual([[1n, 2n], [3n]]);
  });

  test("matches by key, with 64-bit keys, and ignores what it did not ask for", async () => {
    const big = 18_446_744_073_709_551_615n;
    const call = callOf((router) =>
      router.rpc(internal.WarehouseService.method.batchGetCrates, ({ serials }) => ({
        crates: [{ serial: 7n, code: "stray" }, ...serials.map((serial) => ({ serial, code: `${serial}` }))],
      })),
    );
    const crates = await cratesBySerial.loadAll([big, big - 1n], call);
    expect(crates.map((crate) => crate?.code)).toEqual([`${big}`, `${big - 1n}`]);
  });

  test("a part that fails fails its own keys alone, and each key has its own outcome", async () => {
    const call = callOf((router) =>
      router.rpc(internal.WarehouseService.method.batchGetCrates, ({ serials }) => {
        if (serials.includes(3n)) throw new ConnectError("db row 5", Code.Unavailable);
        return { crates: serials.filter((serial) => serial !== 2n).map((serial) => ({ serial })) };
      }),
    );
    const [first, second, third] = await cratesBySerial.load([1n, 2n, 3n], call);
    expect(first).toMatchObject({ serial: 1n });
    expect(second).toBeUndefined();
    expect(third).toBeInstanceOf(PublicError);
    expect(third).toMatchObject({ code: Code.Unavailable });
  });

  test("of two entities with one key, the last counts", async () => {
    const call = callOf((router) =>
      router.rpc(internal.WarehouseService.method.batchGetCrates, () => ({
        crates: [
          { serial: 1n, code: "first" },
          { serial: 1n, code: "last" },
        ],
      })),
    );
    expect(await cratesBySerial.load([1n], call)).toMatchObject([{ code: "last" }]);
  });

  test("a call that is over gets no outcomes: its time has passed, or its caller left", async () => {
    const controller = new AbortController();
    const { call } = warehouseCall({ signal: controller.signal });
    controller.abort(new PublicError("CALLER_LEFT"));
    expect(await thrownBy(keepersById.load(["a"], call))).toMatchObject({ reason: "CALLER_LEFT" });
    const late = warehouseCall({ remainingMs: () => 1 }).call;
    expect(await thrownBy(keepersById.load(["a"], late))).toMatchObject({ reason: "DEADLINE_EXCEEDED" });
  });

  test("an upstream error fails every key, and is not kept for the next", async () => {
    let attempts = 0;
    const call = callOf((router) =>
      router.rpc(internal.WarehouseService.method.batchGetCrates, ({ serials }) => {
        if (++attempts === 1) throw new ConnectError("db row 5", Code.Unavailable);
        return { crates: serials.map((serial) => ({ serial })) };
      }),
    );
    const error = await thrownBy(cratesBySerial.loadAll([1n, 2n], call));
    expect(error).toMatchObject({ code: Code.Unavailable });
    expect(error).not.toMatchObject({ message: expect.stringContaining("db row") });
    expect(await cratesBySerial.loadAll([1n], call)).toMatchObject([{ serial: 1n }]);
  });

  test("two loaders of one method do not share their answers", async () => {
    const { call, asked } = warehouseCall();
    const again = loader(warehouse, {
      batch: {
        method: "batchGetKeepers",
        request: (names) => ({ ids: names.map((name) => name.toLowerCase()) }),
        items: "keepers",
        key: "name",
        max: 3,
      },
    });
    const [byName, byId] = await Promise.all([
      again.loadAll(["Ada"], call),
      keepersById.loadAll(["ada"], call),
    ]);
    expect(byName).toEqual(byId);
    expect(asked.keepers).toHaveLength(2);
  });

  test("is named after what it fetches from", () => {
    expect(cratesBySerial.name).toBe("warehouse.batchGetCrates");
  });
});

describe("groupLoader", () => {
  test("follows the pages to the end, and groups by key in the upstream's order", async () => {
    const { call, asked } = warehouseCall();
    const groups = await scansBySerial.loadAll([1n, 2n], call);
    expect(groups.map((scans) => scans.map(({ serial, gate }) => `${serial} ${gate}`))).toEqual([
      ["1 in", "1 out"],
      ["2 in", "2 out"],
    ]);
    expect(asked.scans).toEqual([
      [1n, 2n],
      [1n, 2n],
    ]);
  });

  test("a key that the upstream does not know gives an empty list", async () => {
    const call = callOf((router) => router.rpc(internal.WarehouseService.method.listScans, () => ({})));
    expect(await scansBySerial.loadAll([1n], call)).toEqual([[]]);
    expect(scansBySerial.missing).toEqual([]);
  });

  test("an error on a further page fails all: half an answer would look whole", async () => {
    const call = callOf((router) =>
      router.rpc(internal.WarehouseService.method.listScans, ({ pageToken }) => {
        if (pageToken !== "") throw new ConnectError("lost", Code.DataLoss);
        return { scans: [{ serial: 1n }], nextPageToken: "2" };
      }),
    );
    expect(await thrownBy(scansBySerial.loadAll([1n], call))).toMatchObject({ code: Code.Internal });
  });

  test("an upstream whose pages have no end fails the call", async () => {
    let pages = 0;
    const call = callOf((router) =>
      router.rpc(internal.WarehouseService.method.listScans, () => {
        pages += 1;
        return { scans: [{ serial: 1n }], nextPageToken: "again" };
      }),
    );
    expect(await thrownBy(scansBySerial.loadAll([1n], call))).toMatchObject({
      code: Code.Internal,
      cause: { message: "warehouse.listScans gave more than 100 pages" },
    });
    expect(pages).toBe(100);
  });

  test("without nextPageToken, one page is all", async () => {
    const { call, asked } = warehouseCall();
    const firstPage = groupLoader(warehouse, {
      batch: {
        method: "listScans",
        request: (serials) => ({ serials }),
        items: "scans",
        key: "serial",
        max: 10,
      },
    });
    expect((await firstPage.loadAll([1n], call))[0]).toHaveLength(1);
    expect(asked.scans).toHaveLength(1);
  });
});

function callOf(routes: (router: ConnectRouter) => void) {
  return testCall({ upstreams: inMemory([warehouse], routes) });
}
