import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { copyRepository, type RepositoryCopy } from "./repository-copy.ts";

// The committed ledger decides on everything, and the commands say what a changed internal proto breaks.

// Each command loads the API anew, or has everything generated; machines are slow.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const internalProto = "proto/internal/smpl/users/v1/users_service.proto";

let copy: RepositoryCopy;
beforeAll(() => {
  copy = copyRepository({ ACCESS_FILE: "packages/gateway/src/app/access.json" });
});
afterAll(() => copy[Symbol.asyncDispose]());

test("nothing in the internal services is undecided", async () => {
  expect(await copy.run("portico", "drift")).toEqual({
    code: 0,
    output: expect.stringMatching(/, 0 undecided\.\n$/),
  });
});

test("there is nothing to warn of", async () => {
  expect(await copy.run("portico", "check", "--strict")).toEqual({ code: 0, output: "Nothing is wrong.\n" });
});

describe("after a change to an internal proto", () => {
  beforeAll(async () => {
    copy.edit(internalProto, "string display_name = 3;", "int32 display_name = 3;");
    copy.edit(internalProto, "string phone = 4;", "reserved 4;");
    expect(await copy.run("buf", "generate")).toEqual({ code: 0, output: "" });
  });

  test.each(["drift", "check"])("%s says what it breaks", async (command) => {
    const { code, output } = await copy.run("portico", command);
    expect(code).toBe(1);
    expect(output).toContain(
      "smpl.api.users.v1.User.display_name has no source in its view of smpl.users.v1.User: " +
        "the internal field is int32, the public one string",
    );
  });

  test("a line of the ledger about a field that is gone is no longer right", async () => {
    copy.edit(internalProto, "int32 display_name = 3;", "string display_name = 3;");
    expect(await copy.run("buf", "generate")).toEqual({ code: 0, output: "" });
    const { code, output } = await copy.run("portico", "drift");
    expect(code).toBe(1);
    expect(output).toContain(
      "hidden: smpl.users.v1.User.phone is nothing that the internal services have: remove the line",
    );
  });
});

describe("a view that is declared late, and does not fit", () => {
  beforeAll(() => {
    copy.edit(
      "packages/gateway/src/app/views.ts",
      'nested(moneyView, "total")',
      'nested(() => lineItemView as never, "total")',
    );
  });

  test.each([
    ["check", "portico", ["check"]],
    ["drift", "portico", ["drift"]],
    ["plan", "portico", ["plan"]],
    ["the start", "node", ["packages/gateway/src/main.ts"]],
  ])("keeps %s from going on, with the field", async (_, program, args) => {
    expect(await copy.run(program, ...args)).toEqual({
      code: 1,
      output:
        "Portico cannot start:\n  - smpl.api.orders.v1.Order.total, in its view of smpl.orders.v1.Order: total: " +
        "the view takes smpl.orders.v1.LineItem, the field is smpl.orders.v1.Money\n",
    });
  });
});
