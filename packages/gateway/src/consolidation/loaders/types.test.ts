import { describe, expect, expectTypeOf, test } from "vitest";
import { messageOf } from "../../testing/call.ts";
import { internal } from "../../testing/protos.ts";
import { warehouse } from "../../testing/warehouse.ts";
import { groupLoader, type Loader, loader } from "./loader.ts";

// What the compiler knows of a loader, without a word about types where it is declared.

describe("the key and the entity are inferred", () => {
  test("from a batch", () => {
    const keepers = loader(warehouse, {
      batch: {
        method: "batchGetKeepers",
        request: (ids) => ({ ids }),
        items: "keepers",
        key: "id",
        max: 3,
      },
    });
    expectTypeOf(keepers).toEqualTypeOf<Loader<string, internal.Keeper | undefined>>();
    const scans = groupLoader(warehouse, {
      batch: {
        method: "listScans",
        request: (serials, pageToken) => ({ serials, pageToken }),
        items: "scans",
        key: "serial",
        max: 3,
      },
    });
    expectTypeOf(scans).toEqualTypeOf<Loader<bigint, readonly internal.Scan[]>>();
  });

  test("from several paths: the key is a tuple", () => {
    const crates = loader(warehouse, {
      all: { method: "listCrates", items: "crates", key: ["serial", "position.aisle"] },
    });
    expectTypeOf(crates).toEqualTypeOf<Loader<readonly [bigint, string], internal.Crate | undefined>>();
  });

  test("of single calls, from the batch beside them, or from what their request takes", () => {
    const both = loader(warehouse, {
      batch: {
        method: "batchGetCrates",
        request: (serials) => ({ serials }),
        items: "crates",
        key: "serial",
        max: 3,
      },
      single: {
        method: "getCrate",
        request: (serial) => ({ code: serial.toString(16) }),
        item: "crate",
      },
    });
    expectTypeOf(both).toEqualTypeOf<Loader<bigint, internal.Crate | undefined>>();
    const alone = loader(warehouse, {
      single: { method: "getCrate", request: (code: string) => ({ code }), item: "crate" },
    });
    expectTypeOf(alone).toEqualTypeOf<Loader<string, internal.Crate | undefined>>();
  });
});

describe("the compiler refuses", () => {
  test("a method that is none, or a stream", async () => {
    const make = () =>
      loader(warehouse, {
        batch: {
          // @ts-expect-error a stream is no batch
          method: "watchCrates",
          request: () => ({}),
          items: "crate" as never,
          key: "code" as never,
          max: 1,
        },
      });
    expect(await messageOf(make)).toContain(
      "the loader warehouse.watchCrates: batch.method: acme.internal.warehouse.v1.WarehouseService has no unary method watchCrates: write one of getCrate, ",
    );
  });

  test("paths that lead nowhere, or to something else", async () => {
    const make = () =>
      loader(warehouse, {
        batch: {
          method: "listScans",
          request: () => ({}),
          // @ts-expect-error there is no such field
          items: "scanns",
          key: "serial",
          max: 1,
        },
        all: {
          method: "listCrates",
          items: "crates",
          // @ts-expect-error bytes are no key
          key: "seal",
          // @ts-expect-error a list is no token
          nextPageToken: "crates",
        },
      });
    expect((await messageOf(make)).split("\n").slice(1)).toEqual([
      '  - the loader warehouse.listScans: batch.items: acme.internal.warehouse.v1.ListScansResponse has no field scanns: write the path to a list of messages, such as "scans"',
      '  - the loader warehouse.listScans: all.key: seal can be no key, as it is no number, text, bool or enum: write a path such as "code", "weightGrams", "serial", "barcode", "tilt"',
      '  - the loader warehouse.listScans: all.nextPageToken: crates is no text: write the path to a text, such as "nextPageToken"',
    ]);
  });

  test("a request that does not fit its key or its method", () => {
    const make = (ids: string[]) => ids;
    loader(warehouse, {
      batch: {
        method: "batchGetCrates",
        // @ts-expect-error serials are numbers
        request: (serials) => ({ serials: make(serials) }),
        items: "crates",
        key: "serial",
        max: 1,
      },
    });
  });

  test("keys to forget that are those of something else", () => {
    loader(warehouse, {
      name: "forgets the wrong keys",
      all: { method: "listCrates", items: "crates", key: "serial" },
      cache: {
        ttlMs: 1,
        forget: {
          // @ts-expect-error the key is a number
          getCrate: (response) => [response.crate?.code ?? ""],
        },
      },
    });
  });

  test("missingTtlMs for a loader of many, where none is an answer like any other", () => {
    groupLoader(warehouse, {
      name: "has no missing",
      all: { method: "listCrates", items: "crates", key: "keeperId" },
      // @ts-expect-error there is no such option
      cache: { ttlMs: 1, missingTtlMs: 1 },
    });
  });
});

test("everything that cannot be is said at once, when the loader is made", async () => {
  const make = () =>
    loader(warehouse, {
      name: "crates",
      batch: {
        method: "batchGetCrates",
        request: () => ({}),
        items: "crates",
        key: "serial",
        max: 0.5,
      },
      single: { method: "getCrate", request: () => ({}), item: "crate", concurrency: -1 },
      cache: { ttlMs: Number.NaN, staleMs: -1, missingTtlMs: 0, scope: "everyone" as "public" },
    });
  expect((await messageOf(make)).split("\n").slice(1)).toEqual([
    "  - the loader crates: batch.max must be a positive whole number, got 0.5",
    "  - the loader crates: single.concurrency must be a positive whole number, got -1",
    "  - the loader crates: cache.ttlMs must be a number of milliseconds of at least 1, got NaN",
    "  - the loader crates: cache.staleMs must be a number of milliseconds of at least 0, got -1",
    "  - the loader crates: cache.missingTtlMs must be a number of milliseconds of at least 1, got 0",
    "  - the loader crates: cache.scope must be one of public, tenant, principal, got everyone",
  ]);
});

test("a loader needs a way", async () => {
  expect(await messageOf(() => loader(warehouse, {}))).toContain(
    "the loader warehouse.?: has no way to fetch: write batch, single or all",
  );
});

test("ways that give different entities are refused", async () => {
  const make = () =>
    loader(warehouse, {
      all: { method: "listCrates", items: "crates", key: "code" },
      single: {
        method: "getCrate",
        request: (code: string) => ({ code }),
        item: "crate.position",
      },
    });
  expect(await messageOf(make)).toContain(
    "the loader warehouse.getCrate: all gives acme.internal.warehouse.v1.Crate, single gives acme.internal.warehouse.v1.Slot",
  );
});

test("a list that is paged must say how to ask for further pages", async () => {
  const make = () =>
    loader(warehouse, {
      batch: {
        method: "listScans",
        request: (serials) => ({ serials }),
        items: "scans",
        key: "serial",
        max: 1,
      },
      all: {
        method: "batchGetKeepers",
        items: "keepers",
        key: "id",
        nextPageToken: "nextPageToken" as never,
      },
    });
  expect(await messageOf(make)).toContain(
    "all.request is needed to ask for further pages, as acme.internal.warehouse.v1.BatchGetKeepersRequest has no page_token",
  );
});

test("two loaders that are cached need different names: they would give each other's entities", async () => {
  const make = (name?: string) =>
    loader(warehouse, {
      ...(name !== undefined && { name }),
      single: { method: "getCrate", request: (code: string) => ({ code }), item: "crate" },
      cache: { ttlMs: 1 },
    });
  expect(make().name).toBe("warehouse.getCrate");
  expect(await messageOf(() => make())).toContain(
    "the loader warehouse.getCrate: another loader with a cache is called so, too: give one of them a name: of its own",
  );
  expect(make("crateByCode").name).toBe("crateByCode");
});

test("a loader can be listed: how it fetches, and how that is kept", () => {
  const crates = loader(warehouse, {
    name: "listed",
    batch: {
      method: "batchGetCrates",
      request: (serials) => ({ serials }),
      items: "crates",
      key: "serial",
      max: 3,
    },
    all: { method: "listCrates", items: "crates", key: "serial", nextPageToken: "nextPageToken" },
    cache: { ttlMs: 5, forget: { getCrate: () => [1n] } },
  });
  expect(crates).toMatchObject({ name: "listed", entity: internal.CrateSchema, many: false });
  const { batchGetCrates, listCrates } = internal.WarehouseService.method;
  expect(crates.ways).toEqual([
    {
      kind: "batch",
      upstream: warehouse,
      method: batchGetCrates,
      items: "crates",
      key: ["serial"],
      max: 3,
      paged: false,
    },
    {
      kind: "all",
      upstream: warehouse,
      method: listCrates,
      items: "crates",
      key: ["serial"],
      nextPageToken: "nextPageToken",
      paged: true,
    },
  ]);
  expect(crates.cache).toEqual({
    ttlMs: 5,
    staleMs: 0,
    missingTtlMs: undefined,
    scope: "principal",
    forget: ["getCrate"],
  });
});
