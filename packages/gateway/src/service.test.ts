import { describe, expect, test } from "vitest";
import { StartError } from "./errors.ts";
import { service } from "./service.ts";
import { thrownBy } from "./testing/call.ts";
import { pub } from "./testing/protos.ts";

const nothing = () => ({});
const handlers = {
  getStatus: () => ({ open: true }),
  getCrate: async () => ({}),
  listCrates: nothing,
  storeCrates: nothing,
  async *watchCrates() {},
};

test("holds a descriptor and its handlers", () => {
  expect(service(pub.WarehouseService, handlers)).toEqual({ desc: pub.WarehouseService, handlers });
});

describe("does not compile and does not start", () => {
  test("with a handler that is missing", async () => {
    const { getCrate: _, ...rest } = handlers;
    expect(
      await problemsOf(() =>
        // @ts-expect-error getCrate is missing
        service(pub.WarehouseService, rest),
      ),
    ).toEqual([
      "acme.api.warehouse.v1.WarehouseService.GetCrate has no handler: write one named getCrate in service(WarehouseService, { ... })",
    ]);
  });

  test("with a handler that is no function", async () => {
    expect(
      await problemsOf(() =>
        // @ts-expect-error getCrate is an object
        service(pub.WarehouseService, { ...handlers, getCrate: {} }),
      ),
    ).toEqual([expect.stringContaining("GetCrate has no handler")]);
  });

  test("with a handler of a method that does not exist", async () => {
    expect(
      await problemsOf(() =>
        service(pub.WarehouseService, {
          ...handlers,
          // @ts-expect-error there is no such method
          burnCrates: nothing,
        }),
      ),
    ).toEqual([
      "acme.api.warehouse.v1.WarehouseService has no method burnCrates: remove the handler, or add the rpc",
    ]);
  });

  test("with options, such as interceptors that would replace everybody else's", async () => {
    const surplus = [{ interceptors: [] }];
    expect(
      await problemsOf(() =>
        // @ts-expect-error there are no options
        service(pub.WarehouseService, handlers, ...surplus),
      ),
    ).toEqual([
      "service(WarehouseService, ...) takes no options: what protects a method stands next to its rpc",
    ]);
    expect(
      await problemsOf(() =>
        // @ts-expect-error there are no options
        service(pub.WarehouseService, handlers, undefined),
      ),
    ).toHaveLength(1);
  });

  test("with methods that take a stream", async () => {
    const never = { loadCrates: nothing as never, swapCrates: nothing as never };
    expect(await problemsOf(() => service(pub.UploadService, never))).toEqual(
      ["LoadCrates", "SwapCrates"].map(
        (name) =>
          `acme.api.warehouse.v1.UploadService.${name} takes a stream of requests, which browsers cannot send: make it unary or server streaming`,
      ),
    );
  });

  test("with an answer of the wrong type", () => {
    service(pub.WarehouseService, {
      ...handlers,
      // @ts-expect-error open is a boolean
      getStatus: () => ({ open: "yes" }),
    });
    service(pub.WarehouseService, {
      ...handlers,
      // @ts-expect-error a stream answers with a stream
      watchCrates: async () => ({}),
    });
  });
});

async function problemsOf(make: () => unknown): Promise<readonly string[]> {
  const error = await thrownBy(make);
  if (!(error instanceof StartError)) throw error;
  return error.problems;
}
