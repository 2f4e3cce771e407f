import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { copyRepository, type RepositoryCopy } from "./repository-copy.ts";

// An internal team adds fields to its proto. In a copy of this repository, one command for each takes it to the public.

// Each command loads the API anew, or has everything generated; machines are slow.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const passed = { code: 0, output: expect.any(String) };
const internalProto = "proto/internal/smpl/users/v1/users_service.proto";
const publicProto = "proto/public/smpl/api/users/v1/api_users_service.proto";
const views = "packages/gateway/src/app/views.ts";
const ledger = "packages/gateway/src/app/ledger.json";

const newFields = `
  // What friends say.
  string nickname = 10;
  // When the user was last seen, newest first.
  repeated google.protobuf.Timestamp login_times = 11;
}

// Whether an account may be used.
enum UserStatus {`;

let copy: RepositoryCopy;
beforeAll(async () => {
  copy = copyRepository({ ACCESS_FILE: "packages/gateway/src/app/access.json" });
  copy.edit(internalProto, /\n}\n\n\/\/ Whether an account may be used\.\nenum UserStatus {/, newFields);
  copy.edit(
    "packages/internal-mocks/src/data/users.ts",
    "      status: pick(statuses, status(index)),\n",
    '      status: pick(statuses, status(index)),\n      nickname: "Nick",\n      loginTimes: [timestampFromMs(1_000)],\n',
  );
  expect(await copy.run("buf", "generate")).toEqual({ code: 0, output: "" });
});
afterAll(() => copy[Symbol.asyncDispose]());

describe("a field that an internal team adds", () => {
  test("is undecided: drift fails, with the line that hides it and the command that exposes it", async () => {
    const { code, output } = await copy.run("portico", "drift");
    expect(code).toBe(1);
    expect(output).toContain(
      "portico expose smpl.users.v1.User.nickname --as smpl.api.users.v1.User.nickname\n" +
        '    "smpl.users.v1.User.nickname": "<the reason>"\n',
    );
    expect(output).toContain("2 undecided");
  });

  test("is hidden with a reason", async () => {
    const { code, output } = await copy.run(
      "portico",
      "drift",
      "--hide",
      "smpl.users.v1.User.nickname",
      "--because",
      "nobody asked for it",
    );
    expect({ code, output }).toEqual({ code: 0, output: "" });
    expect(copy.read(ledger)).toContain('"smpl.users.v1.User.nickname": "nobody asked for it"');
    expect((await copy.run("portico", "drift")).output).not.toContain("User.nickname");
    expect(await copy.run("biome", "check", ledger)).toEqual(passed);
  });
});

describe("portico expose", () => {
  test("only says what it would do, if asked", async () => {
    const before = copy.read(publicProto);
    const { code, output } = await copy.run(
      "portico",
      "expose",
      "smpl.users.v1.User.nickname",
      "--as",
      "User.call_name",
      "--dry-run",
    );
    expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining("would be exposed") });
    expect(copy.read(publicProto)).toBe(before);
  });

  test("changes nothing, if what it would write does not pass", async () => {
    const paths = [
      publicProto,
      views,
      ledger,
      "packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts",
    ];
    const before = paths.map(copy.read);
    const { code, output } = await copy.run(
      "portico",
      "expose",
      "smpl.users.v1.User.nickname",
      "--as",
      "User.call_name",
      "--permission",
      "users.nobody",
    );
    expect(code).toBe(1);
    expect(output).toContain("asks for users.nobody");
    expect(output).toContain("Nothing was changed.");
    expect(paths.map(copy.read)).toEqual(before);
  });

  test("takes over a field under another name", async () => {
    const { code, output } = await copy.run(
      "portico",
      "expose",
      "smpl.users.v1.User.nickname",
      "--as",
      "User.call_name",
    );
    expect({ code, output }).toEqual(passed);
    expect(copy.read(publicProto)).toMatch(/\n {2}\/\/ What friends say\.\n {2}string call_name = \d+;\n}/);
    expect(copy.read(views)).toContain('callName: "nickname"');
    expect(copy.read(ledger)).not.toContain("nickname");
  });

  test("takes over a list of well-known messages for those who may read it", async () => {
    const { code, output } = await copy.run(
      "portico",
      "expose",
      "smpl.users.v1.User.login_times",
      "--as",
      "smpl.api.users.v1.User.login_times",
      "--permission",
      "users.read_email",
    );
    expect({ code, output }).toEqual(passed);
    expect(copy.read(publicProto)).toMatch(
      /repeated google\.protobuf\.Timestamp login_times = \d+ \[\(portico\.v1\.field\) = {permission: "users\.read_email"}\];/,
    );
    expect(copy.read("docs/policy-matrix.txt")).toContain("read smpl.api.users.v1.User.login_times");
  });

  test("takes over an enum with all its values", async () => {
    const { code, output } = await copy.run(
      "portico",
      "expose",
      "smpl.users.v1.User.status",
      "--as",
      "User.status",
    );
    expect({ code, output }).toEqual(passed);
    expect(copy.read(publicProto)).toContain("  // Stopped by the company.\n  USER_STATUS_SUSPENDED = 2;\n");
    expect(copy.read(views)).toContain('status: mapped(publicUserStatus, "status")');
  });

  test("takes over a field from the entity of a relation that there is", async () => {
    const { code, output } = await copy.run(
      "portico",
      "expose",
      "smpl.users.v1.User.display_name",
      "--as",
      "smpl.api.orders.v1.Order.user_display_name",
    );
    expect({ code, output }).toEqual(passed);
    expect(copy.read(views)).toMatch(/userDisplayName: related\(\s*usersById,\s*"userId",\s*"displayName",/);
    expect(copy.read("docs/plans.txt")).toContain("orders.user_display_name");
  });

  test("leaves everything in order: nothing undecided, and all checks pass", async () => {
    expect(await copy.run("portico", "drift")).toEqual(passed);
    expect(await copy.run("portico", "check", "--strict")).toEqual(passed);
    expect(await copy.run("biome", "check", "--error-on-warnings", "packages/gateway/src/app")).toMatchObject(
      { code: 0 },
    );
    expect(await copy.run("buf", "lint")).toEqual({ code: 0, output: "" });
    expect(await copy.run("buf", "format", "--diff", "--exit-code")).toEqual({ code: 0, output: "" });
    // The copy has no tests/, which unit tests need.
    const { output } = await copy.run("tsc", "-p", ".");
    expect(output.split("\n").filter((line) => /^(?!.*\.test\.ts).*error TS/.test(line))).toEqual([]);
  });

  test("has the fields served, to those who may read them", async () => {
    const mocks = await copy.start("packages/internal-mocks/src/main.ts", {
      USERS_PORT: "0",
      ORDERS_PORT: "0",
      INVENTORY_PORT: "0",
    });
    const { url = "" } = await copy.start("packages/gateway/src/main.ts", {
      PORTICO_MODE: "demo",
      PORT: "0",
      ADMIN_PORT: "0",
      UPSTREAM_USERS: String(mocks["users"]),
      UPSTREAM_ORDERS: String(mocks["orders"]),
      UPSTREAM_INVENTORY: String(mocks["inventory"]),
    });
    const ask = async (role: string, path: string): Promise<Record<string, Record<string, unknown>[]>> => {
      const token = await (await fetch(`${url}/demo/token?sub=ada&role=${role}`)).text();
      const response = await fetch(`${url}/${path}`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        body: "{}",
      });
      // Of what the public proto says.
      return response.json() as Promise<Record<string, Record<string, unknown>[]>>;
    };
    const { users } = await ask("admin", "smpl.api.users.v1.UsersService/ListUsers");
    expect(users?.[0]).toMatchObject({
      callName: "Nick",
      loginTimes: ["1970-01-01T00:00:01Z"],
      status: expect.stringMatching(/^USER_STATUS_/),
    });
    expect(users?.[0]).not.toHaveProperty("phone");
    const { orders } = await ask("viewer", "smpl.api.orders.v1.OrdersService/ListOrdersWithUser");
    expect(orders?.[0]?.["userDisplayName"]).toMatch(/\w/);
    const { users: grouped } = await ask(
      "viewer",
      "smpl.api.inventory.v1.InventoryService/ListItemsGroupedByUsers",
    );
    expect(grouped?.[0]?.["user"]).toMatchObject({ callName: "Nick" });
    expect(grouped?.[0]?.["user"]).not.toHaveProperty("loginTimes");
  });
});
