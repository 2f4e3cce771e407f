import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import { inMemory, testCall, thrownBy } from "../testing/call.ts";
import { internal, pub } from "../testing/protos.ts";
import {
  crate,
  crateView,
  keepersById,
  keeperView,
  scansBySerial,
  scanView,
  slotView,
  warehouse,
  warehouseCall,
} from "../testing/warehouse.ts";
import { isFill, nested, related } from "./source.ts";

test("isFill tells a source that waits from a function", () => {
  expect(isFill(nested(slotView, () => undefined))).toBe(true);
  expect(isFill(() => 1)).toBe(false);
});

describe("nested", () => {
  const position = nested(slotView, (from: internal.Crate) => from.position);
  const history = nested(slotView, (from: internal.Crate) => from.history);

  test("a message that is absent stays absent, and the others stay in their places", async () => {
    const crates = [
      crate(),
      crate({ position: { aisle: "A" } }),
      crate(),
      crate({ position: { aisle: "B" } }),
    ];
    const made = await position.fill(crates, testCall());
    expect(made.map((slot) => slot?.aisle)).toEqual([undefined, "A", undefined, "B"]);
  });

  test("lists keep their lengths and their order", async () => {
    const crates = [
      crate({ history: [{ aisle: "A" }, { aisle: "B" }] }),
      crate(),
      crate({ history: [{ aisle: "C" }] }),
    ];
    const made = await history.fill(crates, testCall());
    expect(made.map((slots) => slots.map(({ aisle }) => aisle))).toEqual([["A", "B"], [], ["C"]]);
  });

  test("relations inside are fetched once for all", async () => {
    const { call, asked } = warehouseCall();
    const keepers = nested(keeperView, (chiefId: string) => create(internal.KeeperSchema, { chiefId }));
    const made = await keepers.fill(["a", "b", "a"], call);
    expect(made.map((keeper) => keeper?.chiefName)).toEqual(["A", "B", "A"]);
    expect(asked.keepers).toEqual([["a", "b"]]);
  });
});

describe("related", () => {
  const name = (onMissing: "empty" | "fail") =>
    related(
      keepersById,
      (key: string | undefined) => key,
      (keeper) => keeper.name,
      { onMissing },
    );

  test("one batch for a page; duplicates are sent once, empty keys not at all; order is kept", async () => {
    const { call, asked } = warehouseCall();
    const made = await name("empty").fill(["b", "", "a", undefined, "b"], call);
    expect(made).toEqual(["B", undefined, "A", undefined, "B"]);
    expect(asked.keepers).toEqual([["b", "a"]]);
  });

  test("an empty 64-bit key is not asked for, and a relation to many is then an empty list", async () => {
    const { call, asked } = warehouseCall();
    const scans = related(scansBySerial, (serial: bigint) => serial, scanView, { onMissing: "fail" });
    const made = await scans.fill([0n, 5n], call);
    expect(made.map((list) => list.map(({ gate }) => gate))).toEqual([[], ["in", "out"]]);
    expect(asked.scans).toEqual([[5n], [5n]]);
  });

  test("without any key there is no call", async () => {
    const { call, asked } = warehouseCall();
    expect(await name("empty").fill(["", undefined], call)).toEqual([undefined, undefined]);
    expect(asked.keepers).toEqual([]);
  });

  test("an entity that does not exist: empty", async () => {
    const made = await name("empty").fill(["nobody", "ada"], warehouseCall().call);
    expect(made).toEqual([undefined, "Ada"]);
  });

  test.each([
    ["one that is gone", "nobody"],
    ["no key", ""],
  ])("an entity that does not exist: fail, for %s", async (_, key) => {
    const error = await thrownBy(name("fail").fill(["ada", key], warehouseCall().call));
    expect(error).toMatchObject({
      code: Code.NotFound,
      rawMessage: "Something that the answer needs does not exist any more.",
      cause: { message: expect.stringContaining("warehouse.batchGetKeepers did not find") },
    });
  });

  test("an absent entity stays absent through a view", async () => {
    const keeper = related(keepersById, (key: string) => key, keeperView, { onMissing: "empty" });
    const made = await keeper.fill(["nobody", "ada"], warehouseCall().call);
    expect(made).toEqual([undefined, create(pub.KeeperSchema, { name: "Ada", chiefName: "Chief-ada" })]);
  });

  test("an upstream that fails, fails the call", async () => {
    const routes = (router: ConnectRouter) =>
      router.rpc(internal.WarehouseService.method.batchGetKeepers, () => {
        throw new ConnectError("host 10.0.0.7 refused", Code.Unavailable);
      });
    const call = testCall({ upstreams: inMemory([warehouse], routes) });
    const error = await thrownBy(crateView.one(crate({ keeperId: "ada" }), call));
    expect(error).toMatchObject({ code: Code.Unavailable });
    expect(String(error)).not.toContain("10.0.0.7");
  });

  test("says in its plan what it needs", () => {
    expect(name("empty").plan).toEqual({ kind: "related", loader: "warehouse.batchGetKeepers" });
    expect(related(scansBySerial, () => 1n, scanView, { onMissing: "empty" }).plan).toEqual({
      kind: "related",
      loader: "warehouse.listScans",
      view: scanView,
    });
  });

  test("a relation to one does not fit a relation to many", () => {
    // @ts-expect-error the view takes one scan, the loader gives lists of keepers
    related(keepersById, (key: string) => key, scanView, { onMissing: "empty" });
  });
});

describe("the relations of a page", () => {
  test("run in parallel", async () => {
    const arrived = new Set<string>();
    const both = Promise.withResolvers<void>();
    const arrive = async (method: string) => {
      arrived.add(method);
      if (arrived.size === 2) both.resolve();
      await both.promise;
    };
    const routes = (router: ConnectRouter) =>
      router.service(internal.WarehouseService, {
        batchGetKeepers: async ({ ids }) => {
          await arrive("keepers");
          return { keepers: ids.map((id) => ({ id })) };
        },
        listScans: async () => {
          await arrive("scans");
          return {};
        },
      });
    const call = testCall({ upstreams: inMemory([warehouse], routes) });
    await crateView.all([crate({ serial: 1n, keeperId: "ada" })], call);
    expect([...arrived].sort()).toEqual(["keepers", "scans"]);
  });

  test("level by level: one batch for the keepers of all crates, one for all of their chiefs", async () => {
    const { call, asked } = warehouseCall();
    const crates = ["a", "b", "a"].map((keeperId) => crate({ keeperId }));
    const made = await crateView.all(crates, call);
    expect(made.map(({ keeper }) => keeper?.chiefName)).toEqual(["Chief-a", "Chief-b", "Chief-a"]);
    expect(asked.keepers).toEqual([
      ["a", "b"],
      ["chief-a", "chief-b"],
    ]);
  });

  test("no messages, no calls", async () => {
    const { call, asked } = warehouseCall();
    expect(await crateView.all([], call)).toEqual([]);
    expect(asked).toEqual({ keepers: [], scans: [] });
  });
});
