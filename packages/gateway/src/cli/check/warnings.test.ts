import type { DescMethod } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { App } from "../../application.ts";
import { groupLoader, loader } from "../../consolidation/loaders/loader.ts";
import { related } from "../../consolidation/views/related.ts";
import { view } from "../../consolidation/views/view.ts";
import { createMethodTable } from "../../policy/method-table.ts";
import { service } from "../../service.ts";
import { internal, pub, vault } from "../../testing/protos.ts";
import { slotView } from "../../testing/warehouse.ts";
import { upstream } from "../../upstream/upstream.ts";
import { warningsOf } from "./warnings.ts";

const warehouse = upstream("warehouse", internal.WarehouseService, { timeoutMs: 100 });
const nothing: App = { services: [], upstreams: [warehouse], views: [], loaders: [], requests: [] };
const warn = (parts: Partial<App>) =>
  warningsOf({ ...nothing, ...parts }, createMethodTable(parts.services ?? []));

const batch = {
  method: "batchGetKeepers",
  request: (ids: string[]) => ({ ids }),
  items: "keepers",
  key: "id",
  max: 3,
} as const;

describe("nothing is said", () => {
  test("of a batch, a paged list, and an upstream with a deadline", () => {
    const scans = groupLoader(warehouse, {
      batch: {
        method: "listScans",
        request: (serials, pageToken) => ({ serials, pageToken }),
        items: "scans",
        key: "serial",
        max: 100,
        nextPageToken: "nextPageToken",
      },
    });
    expect(warn({ loaders: [loader(warehouse, { batch }), scans], views: [slotView] })).toEqual([]);
  });
});

test("an upstream without a deadline of its own is named", () => {
  expect(warn({ upstreams: [upstream("other", internal.WarehouseService)] })).toEqual([
    expect.objectContaining({ place: "upstream other", problem: expect.stringContaining("timeoutMs") }),
  ]);
});

test("a relation by single calls is named, and so is its loader", () => {
  const one = loader(warehouse, {
    single: { method: "getCrate", request: (code: string) => ({ code }), item: "crate" },
  });
  const keepers = view(internal.KeeperSchema, pub.KeeperSchema, {
    chiefName: related(one, "chiefId", "code", { onMissing: "empty" }),
  });
  expect(warn({ views: [keepers] })).toEqual([
    {
      place: "acme.api.warehouse.v1.Keeper.chief_name",
      problem: "is fetched by warehouse.getCrate, one call for each key",
      remedy: expect.stringContaining("batch: { ... }"),
    },
  ]);
});

test("a whole list is named, and one in a single answer twice", () => {
  const all = { method: "listCrates", items: "crates", key: "code" } as const;
  expect(warn({ loaders: [loader(warehouse, { all })] }).map(({ place }) => place)).toEqual([
    "warehouse.listCrates",
    "warehouse.listCrates",
  ]);
  const paged = { ...all, nextPageToken: "nextPageToken" } as const;
  expect(warn({ loaders: [loader(warehouse, { all: paged })] })).toEqual([
    expect.objectContaining({ problem: "fetches the whole list for a few keys" }),
  ]);
});

test("a cache that nothing empties is named", () => {
  const cache = { ttlMs: 1_000 };
  expect(warn({ loaders: [loader(warehouse, { batch, cache })] })).toEqual([
    expect.objectContaining({
      place: "warehouse.batchGetKeepers",
      remedy: expect.stringContaining("forget: {"),
    }),
  ]);
  const forget = { getCrate: () => [] };
  const other = { name: "forgetful", batch, cache: { ...cache, forget } };
  expect(warn({ loaders: [loader(warehouse, other)] })).toEqual([]);
});

describe("of the methods of a service", () => {
  const listed = createMethodTable([
    service(vault.VaultService, Object.fromEntries(vault.VaultService.methods.map(handlerOf)) as never),
  ]);

  test("one that answers a list without pages is named, but neither a paged one nor a batch", () => {
    expect(warningsOf(nothing, listed)).toEqual([]);
    const [entry] = listed.values();
    const { wrap } = vault.OpaqueService.method;
    if (entry === undefined) throw new Error("the service has no methods");
    expect(warningsOf(nothing, new Map([[wrap, { ...entry, method: wrap }]]))).toEqual([
      {
        place: "acme.api.vault.v1.OpaqueService.Wrap",
        problem: "answers all payloads at once, however many there are",
        remedy: expect.stringContaining("int32 page_size and string page_token in WrapRequest"),
      },
    ]);
  });

  test("one whose answers are kept for long is named, if others change what they say", () => {
    const read = [...listed.values()].find(({ mutates }) => !mutates);
    const change = [...listed.values()].find(({ mutates }) => mutates);
    if (read === undefined || change === undefined) throw new Error("one of them is missing");
    const kept = (ttlMs: number, ...others: (typeof read)[]) =>
      warningsOf(
        nothing,
        new Map(
          [{ ...read, cache: { ttlMs, staleMs: 0, scope: "public" as const } }, ...others].map((it) => [
            it.method,
            it,
          ]),
        ),
      ).filter(({ problem }) => problem.includes("are kept for"));
    expect(kept(61_000, change)).toEqual([
      expect.objectContaining({ place: expect.stringContaining(read.method.name) }),
    ]);
    expect(kept(60_000, change)).toEqual([]);
    expect(kept(61_000)).toEqual([]);
  });
});

function handlerOf({ localName, methodKind }: DescMethod) {
  return [localName, methodKind === "unary" ? () => ({}) : async function* () {}] as const;
}
