import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { DurationSchema } from "@bufbuild/protobuf/wkt";
import type { ConnectRouter } from "@connectrpc/connect";
import type { Call } from "../call.ts";
import { groupLoader, loader } from "../consolidation/loaders/loader.ts";
import { cases } from "../consolidation/views/cases.ts";
import { enumByName } from "../consolidation/views/enum.ts";
import { mapped } from "../consolidation/views/mapped.ts";
import { nested } from "../consolidation/views/nested.ts";
import { packed } from "../consolidation/views/packed.ts";
import { related } from "../consolidation/views/related.ts";
import { computed } from "../consolidation/views/source.ts";
import { type View, view } from "../consolidation/views/view.ts";
import { service } from "../service.ts";
import { upstream } from "../upstream/upstream.ts";
import { inMemory, testCall } from "./call.ts";
import { internal, pub } from "./protos.ts";

// A whole little gateway over the warehouse: an upstream, loaders and views, with a field of every kind.

export const warehouse = upstream("warehouse", internal.WarehouseService);

export const keepersById = loader(warehouse, {
  batch: {
    method: "batchGetKeepers",
    request: (ids) => ({ ids }),
    items: "keepers",
    key: "id",
    max: 3,
  },
});

export const scansBySerial = groupLoader(warehouse, {
  batch: {
    method: "listScans",
    request: (serials, pageToken) => ({ serials, pageToken }),
    items: "scans",
    key: "serial",
    max: 100,
    nextPageToken: "nextPageToken",
  },
});

export const publicHazard = enumByName(internal.HazardSchema, pub.HazardSchema, { onUnknown: "default" });

export const slotView = view(internal.SlotSchema, pub.SlotSchema, {});

export const scanView = view(internal.ScanSchema, pub.ScanSchema, {});

export const keeperView = view(internal.KeeperSchema, pub.KeeperSchema, {
  chiefName: related(keepersById, "chiefId", "name", { onMissing: "empty" }),
});

export const summaryView = view(internal.CrateSchema, pub.CrateSummarySchema, {
  attachment: packed("attachment", [DurationSchema]),
});

export const crateView: View<internal.Crate, pub.Crate> = view(internal.CrateSchema, pub.CrateSchema, {
  hazards: mapped(publicHazard, "hazards"),
  mainHazard: mapped(publicHazard, "mainHazard"),
  slots: nested(slotView, "slots"),
  position: nested(slotView, "position"),
  history: nested(slotView, "history"),
  handling: cases({
    instruction: "handling.instruction",
    thawTime: "handling.thawTime",
    hazardClass: mapped(publicHazard, "handling.hazardClass"),
  }),
  origin: cases({ shelf: nested(slotView, "origin.shelf") }),
  attachment: packed("attachment", [DurationSchema]),
  contents: nested(() => crateView, "contents"),
  quantity: computed(["quantity"], (quantity) => BigInt(quantity)),
  keeperName: related(keepersById, "keeperId", "name", { onMissing: "empty" }),
  keeper: related(keepersById, "keeperId", keeperView, { onMissing: "empty" }),
  scans: related(scansBySerial, "serial", scanView, { onMissing: "empty" }),
});

/** The public service, whose handlers do nothing. */
export const warehouseService = service(pub.WarehouseService, {
  getStatus: () => ({}),
  getCrate: () => ({}),
  listCrates: () => ({}),
  storeCrates: () => ({}),
  async *watchCrates() {},
});

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
