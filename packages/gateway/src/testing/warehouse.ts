import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectRouter } from "@connectrpc/connect";
import type { Call } from "../call.ts";
import { enumByName } from "../consolidation/enum.ts";
import { groupLoader, loader } from "../consolidation/loader.ts";
import { nested, related } from "../consolidation/source.ts";
import { view } from "../consolidation/view.ts";
import { service } from "../service.ts";
import { upstream } from "../upstream/upstream.ts";
import { inMemory, testCall } from "./call.ts";
import { internal, pub } from "./protos.ts";

// A whole little gateway over the warehouse: an upstream, loaders and views, with a field of every kind.

export const warehouse = upstream("warehouse", internal.WarehouseService);

export const keepersById = loader(warehouse, {
  batch: {
    method: "batchGetKeepers",
    items: (response) => response.keepers,
    key: (keeper) => keeper.id,
    request: (ids) => ({ ids }),
    max: 3,
  },
});

export const scansBySerial = groupLoader(warehouse, {
  batch: {
    method: "listScans",
    items: (response) => response.scans,
    key: (scan) => scan.serial,
    request: (serials, pageToken) => ({ serials, pageToken }),
    max: 100,
    nextPageToken: (response) => response.nextPageToken,
  },
});

export const publicHazard = enumByName(internal.HazardSchema, pub.HazardSchema, { onUnknown: "default" });

export const slotView = view(internal.SlotSchema, pub.SlotSchema, {});

export const scanView = view(internal.ScanSchema, pub.ScanSchema, {});

export const keeperView = view(internal.KeeperSchema, pub.KeeperSchema, {
  chiefName: related(
    keepersById,
    (keeper) => keeper.chiefId,
    (chief) => chief.name,
    { onMissing: "empty" },
  ),
});

export const summaryView = view(internal.CrateSchema, pub.CrateSummarySchema, {});

export const crateView = view(internal.CrateSchema, pub.CrateSchema, {
  hazards: (crate) => crate.hazards.map((hazard) => publicHazard(hazard)),
  mainHazard: (crate) => publicHazard(crate.mainHazard),
  slots: ({ slots }) =>
    Object.fromEntries(Object.entries(slots).map(([key, slot]) => [key, publicSlot(slot)])),
  position: nested(slotView, (crate) => crate.position),
  history: nested(slotView, (crate) => crate.history),
  handling: ({ handling }): pub.Crate["handling"] =>
    handling.case === "hazardClass" ? { case: "hazardClass", value: publicHazard(handling.value) } : handling,
  origin: ({ origin }): pub.Crate["origin"] =>
    origin.case === "shelf" ? { case: "shelf", value: publicSlot(origin.value) } : { case: undefined },
  contents: ({ contents }) => contents.map(({ code }) => create(pub.CrateSchema, { code })),
  quantity: (crate) => BigInt(crate.quantity),
  keeperName: related(
    keepersById,
    (crate) => crate.keeperId,
    (keeper) => keeper.name,
    { onMissing: "empty" },
  ),
  keeper: related(keepersById, (crate) => crate.keeperId, keeperView, { onMissing: "empty" }),
  scans: related(scansBySerial, (crate) => crate.serial, scanView, { onMissing: "empty" }),
});

/** The public service, whose handlers do nothing. */
export const warehouseService = service(pub.WarehouseService, {
  getStatus: () => ({}),
  getCrate: () => ({}),
  listCrates: () => ({}),
  storeCrates: () => ({}),
  async *watchCrates() {},
});

function publicSlot({ aisle, level }: internal.Slot): pub.Slot {
  return create(pub.SlotSchema, { aisle, level });
}

/** A crate of the internal service. */
export function crate(init: MessageInitShape<typeof internal.CrateSchema> = {}): internal.Crate {
  return create(internal.CrateSchema, init);
}

/** What an in-memory warehouse was asked. */
export interface Asked {
  /** The ids of each `BatchGetKeepers`. */
  readonly keepers: string[][];
  /** The serials of each `ListScans`. */
  readonly scans: bigint[][];
}

/**
 * A call whose warehouse knows every keeper but those that are called `nobody`, and has two scans of each crate on
 * two pages. It answers in reverse order.
 */
export function warehouseCall(parts: Partial<Call> = {}): { readonly call: Call; readonly asked: Asked } {
  const asked: Asked = { keepers: [], scans: [] };
  const routes = (router: ConnectRouter) =>
    router.service(internal.WarehouseService, {
      batchGetKeepers: ({ ids }) => {
        asked.keepers.push(ids);
        return {
          keepers: ids
            .filter((id) => id !== "nobody")
            .map(keeperOf)
            .reverse(),
        };
      },
      listScans: ({ serials, pageToken }) => {
        asked.scans.push(serials);
        const gate = pageToken === "" ? "in" : "out";
        const scans = serials.map((serial) => ({ serial, gate, secretOperator: "secret-operator" }));
        return { scans: scans.reverse(), nextPageToken: pageToken === "" ? "page 2" : "" };
      },
    });
  return { call: testCall({ upstreams: inMemory([warehouse], routes), ...parts }), asked };
}

/** `ada` is called `Ada`, and answers to `chief-ada`. */
function keeperOf(id: string) {
  const name = `${id.slice(0, 1).toUpperCase()}${id.slice(1)}`;
  return { id, name, chiefId: id.startsWith("chief-") ? "" : `chief-${id}`, secretPin: "secret-pin" };
}
