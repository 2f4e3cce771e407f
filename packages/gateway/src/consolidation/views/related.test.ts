import { create, type DescField } from "@bufbuild/protobuf";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { describe, expect, test } from "vitest";
import type { Call } from "../../call.ts";
import type { PublicError } from "../../errors.ts";
import { inMemory, testCall, thrownBy } from "../../testing/call.ts";
import { internal, pub } from "../../testing/protos.ts";
import {
  crate,
  crateView,
  keepersById,
  scansBySerial,
  scanView,
  warehouse,
  warehouseCall,
} from "../../testing/warehouse.ts";
import { loader } from "../loaders/loader.ts";
import { cases } from "./cases.ts";
import { enumByName } from "./enum.ts";
import { mapped } from "./mapped.ts";
import { nested } from "./nested.ts";
import { type RelatedOptions, related, summarized } from "./related.ts";
import { computed, constant } from "./source.ts";
import { view } from "./view.ts";

/** A view whose one relation is given; it shows the name of a keeper. */
function named(options: RelatedOptions) {
  return view(internal.KeeperSchema, pub.KeeperSchema, {
    chiefName: related(keepersById, "chiefId", "name", options),
  });
}

const chiefs = (...ids: string[]) => ids.map((chiefId) => create(internal.KeeperSchema, { chiefId }));

async function namesOf(options: RelatedOptions, ids: string[], call: Call): Promise<string[]> {
  return (await named(options).all(chiefs(...ids), call)).map(({ chiefName }) => chiefName);
}

describe("a page", () => {
  test("takes one batch; duplicates are sent once, empty keys not at all; order is kept", async () => {
    const { call, asked } = warehouseCall();
    expect(await namesOf({ onMissing: "empty" }, ["b", "", "a", "b"], call)).toEqual(["B", "", "A", "B"]);
    expect(asked.keepers).toEqual([["b", "a"]]);
  });

  test("without any key there is no call", async () => {
    const { call, asked } = warehouseCall();
    expect(await namesOf({ onMissing: "fail" }, ["", ""], call)).toEqual(["", ""]);
    expect(asked.keepers).toEqual([]);
  });

  test("a 64-bit key that comes as a text is empty at zero", async () => {
    const { call, asked } = warehouseCall();
    const named = view(internal.CrateSchema, pub.SlotSchema, {
      aisle: related(keepersById, "barcode", "name", { onMissing: "fail" }),
      level: computed([], () => 0),
    });
    const made = await named.all([crate(), crate({ barcode: "7" })], call);
    expect(made.map(({ aisle }) => aisle)).toEqual(["", "7"]);
    expect(asked.keepers).toEqual([["7"]]);
  });

  test("an empty 64-bit key is not asked for, and a relation to many is then an empty list", async () => {
    const { call, asked } = warehouseCall();
    const made = await crateView.all([crate({ serial: 0n }), crate({ serial: 5n })], call);
    expect(made.map(({ scans }) => scans.map(({ gate }) => gate))).toEqual([[], ["in", "out"]]);
    expect(asked.scans).toEqual([[5n], [5n]]);
  });

  test("lists of messages inside share the batch", async () => {
    const { call, asked } = warehouseCall();
    const pages = view(internal.ListCratesResponseSchema, pub.ListCratesResponseSchema, {
      crates: nested(crateView, "crates"),
    });
    const page = (...keepers: string[]) =>
      create(internal.ListCratesResponseSchema, { crates: keepers.map((keeperId) => ({ keeperId })) });
    const made = await pages.all([page("a", "b"), page(), page("a")], call);
    expect(made.map(({ crates }) => crates.map(({ keeperName }) => keeperName))).toEqual([
      ["A", "B"],
      [],
      ["A"],
    ]);
    expect(asked.keepers).toEqual([
      ["a", "b"],
      ["chief-a", "chief-b"],
    ]);
  });
});

describe("what becomes of an entity", () => {
  test("a view makes a message of it, and one that is gone leaves none", async () => {
    const made = await crateView.all(
      [crate({ keeperId: "nobody" }), crate({ keeperId: "ada" })],
      warehouseCall().call,
    );
    expect(made.map(({ keeper }) => keeper)).toEqual([
      undefined,
      create(pub.KeeperSchema, { name: "Ada", chiefName: "Chief-ada" }),
    ]);
  });

  test("another relation goes on from it, a level deeper", async () => {
    const { call, asked } = warehouseCall();
    const o = { onMissing: "empty" } as const;
    const keepers = view(internal.KeeperSchema, pub.KeeperSchema, {
      chiefName: related(keepersById, "id", related(keepersById, "chiefId", "name", o), o),
    });
    const ids = ["ada", "nobody", "bob", "ada"].map((id) => create(internal.KeeperSchema, { id }));
    const made = await keepers.all(ids, call);
    expect(made.map(({ chiefName }) => chiefName)).toEqual(["Chief-ada", "", "Chief-bob", "Chief-ada"]);
    expect(asked.keepers).toEqual([
      ["ada", "nobody", "bob"],
      ["chief-ada", "chief-bob"],
    ]);
  });

  test("a computed value, and one value made of many", async () => {
    const scanned = view(internal.CrateSchema, pub.SlotSchema, {
      aisle: related(
        keepersById,
        "keeperId",
        computed(["id", "name"], (id, name) => `${id}: ${name}`),
        {
          onMissing: "empty",
        },
      ),
      level: related(
        scansBySerial,
        "serial",
        summarized(["gate"], (gates) => new Set(gates).size),
        {
          onMissing: "empty",
        },
      ),
    });
    const made = await scanned.all(
      [crate({ keeperId: "ada", serial: 1n }), crate({ serial: 0n })],
      warehouseCall().call,
    );
    expect(made).toEqual([
      create(pub.SlotSchema, { aisle: "ada: Ada", level: 2 }),
      create(pub.SlotSchema, { aisle: "", level: 0 }),
    ]);
  });

  test("a list has the zero of each of many, too", async () => {
    const routes = (router: ConnectRouter) =>
      router.service(internal.WarehouseService, {
        listScans: () => ({ scans: ["in", "", "out"].map((gate) => ({ serial: 5n, gate })) }),
      });
    const gates = view(internal.CrateSchema, internal.BatchGetKeepersRequestSchema, {
      ids: related(scansBySerial, "serial", "gate", { onMissing: "empty" }),
    });
    const call = testCall({ upstreams: inMemory([warehouse], routes) });
    expect((await gates.one(crate({ serial: 5n }), call)).ids).toEqual(["in", "", "out"]);
  });

  test("of what could not be fetched, no summary is made: it would look like that of an empty list", async () => {
    const counted = (onError: "empty" | "partial") =>
      view(internal.CrateSchema, pub.SlotSchema, {
        aisle: computed([], () => ""),
        level: related(
          scansBySerial,
          "serial",
          summarized(["gate"], (gates) => 100 + gates.length),
          { onMissing: "empty", onError },
        ),
      });
    const { call } = failingCall();
    for (const onError of ["empty", "partial"] as const) {
      const made = await counted(onError).all([crate({ serial: 5n }), crate()], call);
      expect(made.map(({ level }) => level)).toEqual([0, 100]);
    }
  });

  test("a number that an enum of it does not know is told of it, for the log", async () => {
    const cratesBySerial = loader(warehouse, {
      batch: {
        method: "batchGetCrates",
        request: (serials) => ({ serials }),
        items: "crates",
        key: "serial",
        max: 10,
      },
    });
    const hazard = enumByName(internal.HazardSchema, pub.HazardSchema, { onUnknown: "fail" });
    const scanned = view(internal.ScanSchema, pub.CrateSchema, {
      ...others,
      ...unscanned,
      mainHazard: related(cratesBySerial, "serial", mapped(hazard, "mainHazard"), { onMissing: "empty" }),
    });
    const routes = (router: ConnectRouter) =>
      router.service(internal.WarehouseService, {
        batchGetCrates: () => ({ crates: [{ serial: 5n, mainHazard: 99 as internal.Hazard }] }),
      });
    const call = testCall({ upstreams: inMemory([warehouse], routes) });
    await expect(scanned.one(create(internal.ScanSchema, { serial: 5n }), call)).rejects.toThrow(
      "acme.internal.warehouse.v1.Crate.main_hazard: 99 is none of HAZARD_UNSPECIFIED",
    );
  });

  test("a relation to one does not fit a relation to many", () => {
    // @ts-expect-error the view takes one scan, the loader gives keepers
    related(keepersById, "keeperId", scanView, { onMissing: "empty" });
  });
});

/** The warehouse without some of its keepers; asking for `broken` fails. */
function failingCall(): { readonly call: Call; readonly told: [string, PublicError][] } {
  const told: [string, PublicError][] = [];
  const routes = (router: ConnectRouter) =>
    router.service(internal.WarehouseService, {
      batchGetKeepers: ({ ids }) => {
        if (ids.includes("broken")) throw new ConnectError("host 10.0.0.7 refused", Code.Unavailable);
        return { keepers: ids.filter((id) => id !== "nobody").map((id) => ({ id, name: id })) };
      },
      listScans: () => {
        throw new ConnectError("host 10.0.0.8 refused", Code.Unavailable);
      },
    });
  const call = testCall({ upstreams: inMemory([warehouse], routes) });
  const missing: Call["missing"] = {
    ...call.missing,
    add: (_, member, error) => void told.push([member, error]),
  };
  return { call: { ...call, missing }, told };
}

describe("an entity that does not exist", () => {
  test("empty", async () => {
    const { call, told } = failingCall();
    expect(await namesOf({ onMissing: "empty" }, ["nobody", "ada"], call)).toEqual(["", "ada"]);
    expect(told).toEqual([]);
  });

  test("partial: the caller is told", async () => {
    const { call, told } = failingCall();
    expect(await namesOf({ onMissing: "partial" }, ["nobody", "ada"], call)).toEqual(["", "ada"]);
    expect(told).toMatchObject([["chiefName", { reason: "NOT_FOUND", code: Code.NotFound }]]);
  });

  test("fail", async () => {
    const error = await thrownBy(namesOf({ onMissing: "fail" }, ["ada", "nobody"], failingCall().call));
    expect(error).toMatchObject({
      code: Code.NotFound,
      rawMessage: "Something that the answer needs does not exist any more.",
      cause: { message: expect.stringContaining("warehouse.batchGetKeepers did not find") },
    });
  });
});

describe("an upstream that fails", () => {
  test("fails the call, unless something else is said", async () => {
    for (const options of [{ onMissing: "empty" }, { onMissing: "empty", onError: "fail" }] as const) {
      const error = await thrownBy(namesOf(options, ["ada", "broken"], failingCall().call));
      expect(error).toMatchObject({ code: Code.Unavailable, reason: "SERVICE_UNAVAILABLE" });
      expect(String(error)).not.toContain("10.0.0.7");
    }
  });

  test("partial: the fields stay empty, and the caller is told of each", async () => {
    const { call, told } = failingCall();
    const options = { onMissing: "empty", onError: "partial" } as const;
    expect(await namesOf(options, ["ada", "", "broken"], call)).toEqual(["", "", ""]);
    expect(told.map(([member, { reason }]) => [member, reason])).toEqual([
      ["chiefName", "SERVICE_UNAVAILABLE"],
      ["chiefName", "SERVICE_UNAVAILABLE"],
    ]);
  });

  test("empty: nobody is told", async () => {
    const { call, told } = failingCall();
    expect(await namesOf({ onMissing: "empty", onError: "empty" }, ["ada", "broken"], call)).toEqual([
      "",
      "",
    ]);
    expect(told).toEqual([]);
  });

  test("a call whose caller has left fails all the same", async () => {
    const { call, told } = failingCall();
    const left = { ...call, signal: AbortSignal.abort(new Error("left")) };
    await expect(namesOf({ onMissing: "empty", onError: "partial" }, ["ada"], left)).rejects.toThrow();
    expect(told).toEqual([]);
  });

  test("of a chain: what the second level lacks is told of the field, too", async () => {
    const { call, told } = failingCall();
    const o = { onMissing: "empty", onError: "partial" } as const;
    const keepers = view(internal.KeeperSchema, pub.KeeperSchema, {
      chiefName: related(
        keepersById,
        "id",
        related(
          keepersById,
          computed(["id"], () => "broken"),
          "name",
          o,
        ),
        o,
      ),
    });
    const made = await keepers.all([create(internal.KeeperSchema, { id: "ada" })], call);
    expect(made[0]?.chiefName).toBe("");
    expect(told.map(([member]) => member)).toEqual(["chiefName"]);
  });
});

/** What is of no interest in a view of crates. */
const others = {
  hazards: constant(undefined),
  mainHazard: constant(undefined),
  slots: constant(undefined),
  position: constant(undefined),
  history: constant(undefined),
  origin: constant(undefined),
  attachment: constant(undefined),
  contents: constant(undefined),
  quantity: constant(undefined),
  keeperName: constant(undefined),
  keeper: constant(undefined),
  scans: constant(undefined),
};

/** What a scan does not have. */
const unscanned = {
  code: constant(undefined),
  weightGrams: constant(undefined),
  barcode: constant(undefined),
  seal: constant(undefined),
  tilt: constant(undefined),
  note: constant(undefined),
  label: constant(undefined),
  tags: constant(undefined),
  handling: constant(undefined),
  arriveTime: constant(undefined),
  dwell: constant(undefined),
  attributes: constant(undefined),
};

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

  test("a case of a oneof that the answer will not have is fetched if a later one depends on it", async () => {
    const o = { onMissing: "empty" } as const;
    const handled = view(internal.CrateSchema, pub.CrateSchema, {
      ...others,
      handling: cases({
        instruction: related(keepersById, "keeperId", "name", o),
        thawTime: "handling.thawTime",
        hazardClass: related(
          scansBySerial,
          "serial",
          summarized([], () => pub.Hazard.CORROSIVE),
          o,
        ),
      }),
    });
    const { instruction, thawTime, hazardClass } = pub.CrateSchema.field;
    const asking = async (...fields: readonly DescField[]) => {
      const { call, asked } = warehouseCall();
      const omitted = new Set(fields);
      await handled.one(crate({ keeperId: "ada", serial: 5n }), { ...call, omitted });
      return [asked.keepers.length, asked.scans.length > 0];
    };
    expect(await asking()).toEqual([1, true]);
    expect(await asking(hazardClass)).toEqual([1, false]);
    expect(await asking(instruction)).toEqual([1, true]);
    expect(await asking(thawTime, hazardClass)).toEqual([1, false]);
    expect(await asking(instruction, thawTime, hazardClass)).toEqual([0, false]);
  });

  test("a field that the answer will not have is not fetched", async () => {
    const { call, asked } = warehouseCall();
    const { keeper, keeperName, scans } = pub.CrateSchema.field;
    const omitted = new Set([keeper, keeperName]);
    const [made] = await crateView.all([crate({ serial: 5n, keeperId: "ada" })], { ...call, omitted });
    expect(made).toMatchObject({ keeperName: "", scans: [{ gate: "in" }, { gate: "out" }] });
    expect(asked).toEqual({ keepers: [], scans: [[5n], [5n]] });
    await crateView.all([crate({ serial: 6n })], { ...call, omitted: new Set([...omitted, scans]) });
    expect(asked.scans).toHaveLength(2);
  });
});
