import { describe, expect, test } from "vitest";
import type { App } from "../../application.ts";
import { loader } from "../../consolidation/loaders/loader.ts";
import { related } from "../../consolidation/views/related.ts";
import { view } from "../../consolidation/views/view.ts";
import { invalid } from "../../errors.ts";
import { createMethodTable } from "../../policy/method-table.ts";
import { type Handlers, service } from "../../service.ts";
import { internal, pub } from "../../testing/protos.ts";
import { crateView, keepersById, scansBySerial, warehouse } from "../../testing/warehouse.ts";
import { loaderKeysOf } from "./loaders.ts";
import { planMethod } from "./method.ts";

type WarehouseHandlers = Handlers<typeof pub.WarehouseService>;

/** The plan of the only method whose handler is given. */
async function planOf(
  handlers: Partial<WarehouseHandlers>,
  rows = 6,
  views: App["views"] = [crateView, keeperByCrateView],
) {
  const warehouseService = service(pub.WarehouseService, {
    getStatus: () => ({}),
    getCrate: () => ({}),
    listCrates: () => ({}),
    storeCrates: () => ({}),
    async *watchCrates() {},
    ...handlers,
  });
  const [name = ""] = Object.keys(handlers);
  const entry = [...createMethodTable([warehouseService]).values()].find(
    ({ method }) => method.localName === name,
  );
  if (entry === undefined) throw new Error(`there is no method ${name}`);
  const loaderKeys = loaderKeysOf({ loaders: [keepersById, scansBySerial, crateOfCode], views });
  return planMethod(entry, { rows, loaderKeys });
}

const cratesByCode = loader(warehouse, {
  single: { method: "getCrate", request: (code: string) => ({ code }), item: "crate", concurrency: 2 },
});
const cratesByName = loader(warehouse, { all: { method: "listCrates", items: "crates", key: "code" } });

const crateOfCode = loader(warehouse, {
  single: { method: "getCrate", request: (code: string) => ({ code }), item: "crate" },
  all: { method: "listCrates", items: "crates", key: "code" },
});

/** Relations to crates, found one by one and in the whole list: missing ones would fail. */
const keeperByCrateView = view(internal.KeeperSchema, pub.KeeperSchema, {
  name: related(cratesByCode, "name", "note", { onMissing: "fail" }),
  chiefName: related(
    cratesByName,
    "chiefId",
    related(keepersById, "keeperId", "name", { onMissing: "fail" }),
    {
      onMissing: "fail",
    },
  ),
});

describe("the plan of a method", () => {
  test("has no steps, if its handler asks nobody", async () => {
    expect(await planOf({ getStatus: () => ({ open: true }) })).toMatchObject({
      method: "acme.api.warehouse.v1.WarehouseService/GetStatus",
      problem: null,
      calls: 0,
      levels: 0,
      steps: [],
    });
  });

  test("shows relations side by side, those of relations below, and what each is for", async () => {
    const plan = await planOf({
      async listCrates({ pageToken }, call) {
        const { crates } = await warehouse.listCrates({ pageSize: 7, pageToken }, call);
        return { crates: await crateView.all(crates, call) };
      },
    });
    expect(plan).toMatchObject({ problem: null, levels: 3, permissions: ["crates.read"] });
    expect(plan.steps).toMatchObject([
      { level: 1, name: "warehouse.listCrates", calls: 1, after: [], always: true, fields: [] },
      {
        level: 2,
        name: "warehouse.batchGetKeepers",
        paged: false,
        after: ["warehouse.listCrates"],
        always: false,
        fields: ["crates.keeper_name", "crates.keeper"],
      },
      { level: 2, name: "warehouse.listScans", calls: 1, paged: true, fields: ["crates.scans"] },
      {
        level: 3,
        name: "warehouse.batchGetKeepers#2",
        after: ["warehouse.batchGetKeepers"],
        fields: ["crates.keeper.chief_name"],
      },
    ]);
  });

  test("counts the calls of a loader that can ask for three keys at a time", async () => {
    const plan = await planOf({
      async listCrates(_, call) {
        const { crates } = await warehouse.listCrates({ pageSize: 8 }, call);
        await keepersById.loadAll(
          crates.map(({ keeperId }) => keeperId),
          call,
        );
        return {};
      },
    });
    expect(plan.steps).toMatchObject([
      { calls: 1 },
      { name: "warehouse.batchGetKeepers", calls: 3, atOnce: 3, always: true },
    ]);
    expect(plan.calls).toBe(4);
  });

  test("names what a loader calls where the service does not have the method of its best way", async () => {
    const plan = await planOf({
      async listCrates(_, call) {
        await crateOfCode.loadAll(["a"], call);
        return {};
      },
    });
    expect(plan.steps).toMatchObject([{ name: "warehouse.getCrate", otherwise: ["warehouse.listCrates"] }]);
  });

  test("finds entities that are fetched one by one, or taken from a whole list", async () => {
    const plan = await planOf({
      async listCrates(_, call) {
        const { keepers } = await warehouse.batchGetKeepers({ ids: ["a", "b", "c", "d", "e"] }, call);
        await keeperByCrateView.all(keepers, call);
        return {};
      },
    });
    expect(plan).toMatchObject({ problem: null, levels: 3 });
    expect(plan.steps).toMatchObject([
      { name: "warehouse.batchGetKeepers" },
      { level: 2, name: "warehouse.getCrate", calls: 5, atOnce: 2 },
      { level: 2, name: "warehouse.listCrates", calls: 1 },
      { level: 3, name: "warehouse.batchGetKeepers#2", after: ["warehouse.listCrates"] },
    ]);
  });

  test("finds entities by the keys of each of two loaders that fetch by the same method", async () => {
    const keepersByName = loader(warehouse, {
      batch: {
        method: "batchGetKeepers",
        request: (ids) => ({ ids }),
        items: "keepers",
        key: "name",
        max: 9,
      },
    });
    const keepersByEither = view(internal.KeeperSchema, pub.KeeperSchema, {
      name: related(keepersByName, "chiefId", "name", { onMissing: "fail" }),
      chiefName: related(keepersById, "chiefId", "name", { onMissing: "fail" }),
    });
    const handler: WarehouseHandlers["listCrates"] = async (_, call) => {
      const { keepers } = await warehouse.batchGetKeepers({ ids: ["a"] }, call);
      await keepersByEither.all(keepers, call);
      return {};
    };
    const { problem } = await planOf({ listCrates: handler }, 6, [keepersByEither]);
    expect(problem).toBeNull();
  });

  test("knows what waits for what, even without using its answer", async () => {
    const plan = await planOf({
      async getCrate({ code }, call) {
        const [first] = await Promise.all([
          warehouse.getCrate({ code }, call),
          warehouse.listScans({ serials: [1n] }, call),
        ]);
        // Asks for nothing that the two have said.
        await warehouse.batchGetCrates({ serials: [2n] }, call);
        return { crate: { code: first.crate?.code ?? "" } };
      },
    });
    expect(plan.steps).toMatchObject([
      { level: 1, name: "warehouse.getCrate", after: [] },
      { level: 1, name: "warehouse.listScans", after: [] },
      {
        level: 2,
        name: "warehouse.batchGetCrates",
        after: ["warehouse.getCrate", "warehouse.listScans"],
      },
    ]);
  });

  test("tells apart who waits for one of two", async () => {
    const plan = await planOf({
      async getCrate({ code }, call) {
        const keeper = async () => {
          const { crate } = await warehouse.getCrate({ code }, call);
          await warehouse.batchGetKeepers({ ids: [crate?.keeperId ?? ""] }, call);
        };
        await Promise.all([keeper(), warehouse.listScans({ serials: [1n] }, call)]);
        return {};
      },
    });
    expect(plan.steps.at(-1)).toMatchObject({
      name: "warehouse.batchGetKeepers",
      after: ["warehouse.getCrate"],
    });
  });

  test("shows a loop of calls for what it is: one after the other", async () => {
    const plan = await planOf({
      async listCrates({ pageSize }, call) {
        const { crates } = await warehouse.listCrates({ pageSize: Math.min(pageSize, 9) }, call);
        for (const { code } of crates) {
          const { crate } = await warehouse.getCrate({ code }, call);
          if (crate?.code !== code) throw new Error(`asked for ${code}, got ${crate?.code}`);
          await warehouse.batchGetKeepers({ ids: [crate.keeperId] }, call);
        }
        return {};
      },
    });
    expect(plan).toMatchObject({ calls: 19, levels: 3 });
    expect(plan.steps).toMatchObject([
      { name: "warehouse.listCrates", calls: 1 },
      { name: "warehouse.getCrate", calls: 9, atOnce: 1 },
      { name: "warehouse.batchGetKeepers", calls: 9, atOnce: 1, after: ["warehouse.getCrate"] },
    ]);
  });

  test("says of a stream what each message takes", async () => {
    const plan = await planOf({
      async *watchCrates({ aisle }, call) {
        await warehouse.listScans({ pageToken: aisle }, call);
        const answers = warehouse.watchCrates({}, call);
        for await (const crate of crateView.each(cratesIn(answers), call)) yield { crate };
      },
    });
    expect(plan).toMatchObject({ stream: true, problem: null, calls: 2, levels: 4 });
    expect(plan.steps).toMatchObject([
      { level: 1, name: "warehouse.listScans", calls: 1, callsPerMessage: 0 },
      { level: 2, name: "warehouse.watchCrates", calls: 1, callsPerMessage: 0, stream: true },
      {
        level: 3,
        name: "warehouse.batchGetKeepers",
        calls: 0,
        fields: ["crate.keeper_name", "crate.keeper"],
      },
      { level: 3, name: "warehouse.listScans#2", calls: 0, callsPerMessage: 1 },
      { level: 4, name: "warehouse.batchGetKeepers#2", calls: 0 },
    ]);
  });

  test("lets a call that is no stream read a stream to its end", async () => {
    const plan = await planOf({
      async listCrates(_, call) {
        const keys: string[] = [];
        for await (const { crate } of warehouse.watchCrates({}, call)) keys.push(crate?.keeperId ?? "");
        await keepersById.loadAll(keys, call);
        return {};
      },
    });
    expect(plan.steps).toMatchObject([{ calls: 1, stream: true }, { calls: 2 }]);
  });
});

describe("a request", () => {
  test("that is refused with everything in it is made with less", async () => {
    const plan = await planOf({
      async storeCrates({ docks, orders }, call) {
        if (docks.length > 1) throw invalid({ field: "docks", description: "one is enough" });
        await warehouse.batchGetCrates({ serials: orders.map(() => 1n) }, call);
        return {};
      },
    });
    expect(plan).toMatchObject({ problem: null, calls: 1 });
  });

  test("that is refused in every form leaves the method without a plan, and says why", async () => {
    const plan = await planOf({
      storeCrates: () => {
        throw invalid({ field: "docks", description: "are closed" });
      },
    });
    expect(plan).toMatchObject({ problem: "docks: are closed", steps: [], calls: 0 });
  });

  test("for a page asks for the largest, without filters where they leave less to be fetched", async () => {
    const plan = await planOf({
      async listCrates({ pageSize, pageToken, aisle }, call) {
        expect([pageSize, pageToken]).toEqual([2 ** 31 - 1, ""]);
        const { crates } = await warehouse.listCrates({ pageSize: aisle === "" ? 9 : 3 }, call);
        await keepersById.loadAll(
          crates.map(({ keeperId }) => keeperId),
          call,
        );
        return {};
      },
    });
    expect(plan).toMatchObject({ problem: null, calls: 4 });
  });
});

describe("a handler that cannot be planned", () => {
  test("waits for something else", async () => {
    const plan = await planOf({ getCrate: () => new Promise(() => {}) });
    expect(plan.problem).toBe("it waits for something that is no call to an upstream");
  });

  test("asks without end", async () => {
    const plan = await planOf({
      async getCrate(_, call) {
        for (;;) await warehouse.batchGetKeepers({}, call);
      },
    });
    expect(plan.problem).toBe("it makes more than 2000 calls, one after the other");
  }, 120_000);

  test("asks for too much at once", async () => {
    const plan = await planOf({
      async getCrate(_, call) {
        await Promise.all(Array.from({ length: 50_001 }, () => warehouse.batchGetKeepers({}, call)));
        return {};
      },
    });
    expect(plan.problem).toBe("it makes more than 50000 calls");
  }, 120_000);

  test("fails where a field is left out, which says nothing about the others", async () => {
    const plan = await planOf({
      async listCrates(_, call) {
        const { crates } = await warehouse.listCrates({ pageSize: 3 }, call);
        const made = await crateView.all(crates, call);
        if (made.some(({ code }) => code === "")) throw new Error("a crate without a code");
        return { crates: made };
      },
    });
    expect(plan.problem).toBeNull();
    expect(plan.steps[2]).toMatchObject({ name: "warehouse.listScans", fields: ["crates.scans"] });
  });
});

async function* cratesIn(answers: AsyncIterable<internal.WatchCratesResponse>) {
  for await (const { crate } of answers) if (crate !== undefined) yield crate;
}
