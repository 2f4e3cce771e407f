import { describe, expect, test } from "vitest";
import { testCall } from "../testing/call.ts";
import { internal } from "../testing/protos.ts";
import { declaration, upstream } from "./upstream.ts";

test("declares a service, with 5 seconds for a unary call", () => {
  const warehouse = upstream("warehouse", internal.WarehouseService);
  expect(warehouse[declaration]).toMatchObject({
    name: "warehouse",
    service: internal.WarehouseService,
    identity: [],
    calls: { timeoutMs: 5_000 },
  });
  const quick = upstream("w_2", internal.WarehouseService, { timeoutMs: 0.5 });
  expect(quick[declaration].calls.timeoutMs).toBe(0.5);
});

test("has the unary and the server-streaming methods of the service", () => {
  const warehouse = upstream("warehouse", internal.WarehouseService);
  expect(typeof warehouse.getCrate).toBe("function");
  expect(typeof warehouse.watchCrates).toBe("function");
  // @ts-expect-error a client stream is not offered
  expect(warehouse.loadCrates).toBeUndefined();
});

test("calls go to the clients of the call", async () => {
  const warehouse = upstream("warehouse", internal.WarehouseService, { timeoutMs: 7 });
  const seen: unknown[] = [];
  const call = testCall({
    upstreams: {
      unary: async (...given) => seen.push(...given) as never,
      stream: (...given) => seen.push(...given) as never,
      states: () => ({}),
      facts: () => ({}),
      probe: async () => {},
      unimplemented: () => [],
      close: () => {},
    },
  });
  await warehouse.getCrate({ code: "A-1" }, call);
  warehouse.watchCrates({}, call);
  expect(seen).toEqual([
    warehouse[declaration],
    internal.WarehouseService.method.getCrate,
    { code: "A-1" },
    call,
    warehouse[declaration],
    internal.WarehouseService.method.watchCrates,
    {},
    call,
  ]);
});

describe("refuses", () => {
  test.each(["", "Warehouse", "ware-house", "1warehouse", "ware house", "../x"])("the name %j", (name) => {
    const make = () => upstream(name, internal.WarehouseService);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(`upstream: the name must be lower-case letters, digits and _, got "${name}"`);
  });

  test.each([0, -1, Number.NaN])("a time-out of %d", (timeoutMs) => {
    const make = () => upstream("warehouse", internal.WarehouseService, { timeoutMs });
    expect(make).toThrow(TypeError);
    expect(make).toThrow(`upstream warehouse: timeoutMs must be more than 0, got ${timeoutMs}`);
  });
});
