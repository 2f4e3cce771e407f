import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { InventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { ask, readingWays } from "./ask.ts";
import { type System, startSystem } from "./system.ts";

// The access file changes while the gateway runs.

const { listUsers } = UsersService.method;
const { listOrdersWithUser, watchOrdersWithUser } = OrdersService.method;
const { listItemsGroupedByUsers } = InventoryService.method;

const root = mkdtempSync(join(tmpdir(), "portico-reload-"));
afterAll(() => rmSync(root, { recursive: true }));
const demo: { roles: Record<string, string[]> } = JSON.parse(
  readFileSync(fileURLToPath(new URL("../packages/gateway/src/app/access.json", import.meta.url)), "utf8"),
);
/** The access file of the demo, with other rights for some roles. */
const accessWith = (roles: object): string => JSON.stringify({ ...demo, roles: { ...demo.roles, ...roles } });
const usual = accessWith({});
const viewerSeesUsers = accessWith({ viewer: ["orders.read", "users.*", "inventory.read"] });

/** How long a change may take to be noticed. */
const soon = { timeout: 3_000, interval: 50 };

/** A gateway with an access file of its own. */
async function start(env: Readonly<Record<string, string>> = {}) {
  const folder = mkdtempSync(join(root, "system-"));
  const file = join(folder, "access.json");
  writeFileSync(file, usual);
  const system = await startSystem({ env: { ACCESS_FILE: file, ...env } });
  onTestFinished(() => system.close());
  const token = await system.token("viewer");
  const codes = async () =>
    Promise.all(
      readingWays.map(
        async (way) => (await ask(system.url, listUsers, { pageSize: 1 }, { way, token })).code,
      ),
    );
  const see = async (code: string) => expect(await codes()).toEqual(readingWays.map(() => code));
  return { system, folder, file, token, see };
}

const linesOf = (system: System, level: "info" | "error") =>
  system
    .log()
    .filter(
      (line) =>
        line["level"] === (level === "error" ? 50 : 30) && String(line["msg"]).startsWith("ACCESS_FILE"),
    );

describe.concurrent("what is changed counts within 3 seconds", () => {
  test("rights that are given, and rights that are taken away", async () => {
    const { system, file, see } = await start();
    await see("permission_denied");
    writeFileSync(file, viewerSeesUsers);
    await vi.waitFor(() => see("ok"), soon);
    writeFileSync(file, usual);
    await vi.waitFor(() => see("permission_denied"), soon);
    expect(linesOf(system, "info").map((line) => line["msg"])).toEqual([
      "ACCESS_FILE reloaded",
      "ACCESS_FILE reloaded",
    ]);
    expect(linesOf(system, "error")).toEqual([]);
  });

  test("a file that takes the place of another", async () => {
    const { folder, file, see } = await start();
    writeFileSync(join(folder, "next.json"), viewerSeesUsers);
    renameSync(join(folder, "next.json"), file);
    await vi.waitFor(() => see("ok"), soon);
  });

  test("a link that is swapped further up, as Kubernetes does", async () => {
    const folder = mkdtempSync(join(root, "volume-"));
    for (const [version, text] of [
      ["v1", usual],
      ["v2", viewerSeesUsers],
    ] as const) {
      mkdirSync(join(folder, version));
      writeFileSync(join(folder, version, "access.json"), text);
    }
    symlinkSync("v1", join(folder, "..data"));
    symlinkSync(join("..data", "access.json"), join(folder, "access.json"));
    const { see } = await start({ ACCESS_FILE: join(folder, "access.json") });
    await see("permission_denied");
    symlinkSync("v2", join(folder, "..data-next"));
    renameSync(join(folder, "..data-next"), join(folder, "..data"));
    await vi.waitFor(() => see("ok"), soon);
  });

  test("what a field hides, for the next call, and an answer kept from before is not given", async () => {
    const { system, file, token } = await start({ ANSWER_CACHE_BYTES: String(2 ** 24) });
    const emails = async () => {
      const orders = await ask(system.url, listOrdersWithUser, { pageSize: 2 }, { token });
      const items = await ask(system.url, listItemsGroupedByUsers, { pageSize: 2 }, { token });
      return [
        ...orders.answers.flatMap(({ orders }) => orders.map(({ userEmail }) => userEmail)),
        ...items.answers.flatMap(({ users }) => users.map(({ user }) => user?.email ?? "")),
      ].filter((email) => email !== "").length;
    };
    expect(await emails()).toBe(0);
    writeFileSync(file, accessWith({ viewer: ["orders.read", "users.read_email", "inventory.read"] }));
    await vi.waitFor(async () => expect(await emails()).toBe(4), soon);
    // Kept for five seconds, so that it would still be there.
    writeFileSync(file, usual);
    await vi.waitFor(async () => expect(await emails()).toBe(0), soon);
  });

  test("a call that is let in goes on as it began", async () => {
    const { system, file, token, see } = await start();
    const watching = ask(
      system.url,
      watchOrdersWithUser,
      { backlog: 1 },
      { way: "grpc", token, timeoutMs: 4_000 },
    );
    await vi.waitFor(async () => expect(await system.inFlight()).toBeGreaterThan(0), soon);
    writeFileSync(file, accessWith({ viewer: ["users.*"] }));
    await vi.waitFor(() => see("ok"), soon);
    const denied = await ask(system.url, watchOrdersWithUser, { backlog: 1 }, { way: "grpc", token });
    expect(denied.code).toBe("permission_denied");
    const { code, answers } = await watching;
    expect([code, answers.length]).toEqual(["deadline_exceeded", 1]);
  });
});

describe.concurrent("a file that makes no sense is refused as a whole, with one line in the log", () => {
  const broken: Record<string, readonly [breakIt: (file: string) => void, problem: RegExp, what?: string]> = {
    "one that is no JSON": [(file) => writeFileSync(file, viewerSeesUsers.slice(0, -2)), /is not JSON/],
    "one that is empty": [(file) => writeFileSync(file, ""), /is not JSON/],
    "one with an unknown permission": [
      (file) => writeFileSync(file, accessWith({ viewer: ["orders.read", "users.read", "users.red"] })),
      /roles\.viewer: users\.red is no permission of this API: it has inventory\.read, .*users\.read_email$/,
    ],
    "one with an unknown word": [
      (file) => writeFileSync(file, viewerSeesUsers.replace('"anonymous"', '"anonymus"')),
      /anonymus/,
    ],
    "one where nobody has a permission that is asked for": [
      (file) => writeFileSync(file, accessWith({ admin: [], viewer: ["users.read"] })),
      /UsersService\/CreateUser asks for users\.create, which no role in .* grants/,
    ],
    "one that is deleted": [(file) => unlinkSync(file), /ENOENT/, "cannot be read"],
    "one that becomes a folder": [
      (file) => {
        unlinkSync(file);
        mkdirSync(file);
      },
      /is not a file/,
      "cannot be read",
    ],
    "one that is no text": [
      (file) => writeFileSync(file, Buffer.from([0x7b, 0xff, 0xfe, 0x7d])),
      /not valid|encoded/,
      "cannot be read",
    ],
    "one that is far too large": [
      (file) => writeFileSync(file, " ".repeat(10 * 2 ** 20 + 1)),
      /more than 10485760 bytes/,
      "cannot be read",
    ],
  };

  test.each(Object.entries(broken))("%s", async (_, [breakIt, problem, what = "is refused"]) => {
    const { system, file, see } = await start();
    breakIt(file);
    await vi.waitFor(() => expect(linesOf(system, "error")).toHaveLength(1), 5_000);
    await see("permission_denied");
    // Two more looks have nothing more to say.
    await delay(2_200);
    const [line, ...others] = linesOf(system, "error");
    expect(others).toEqual([]);
    expect(line).toMatchObject({
      level: 50,
      file,
      msg: `ACCESS_FILE ${what}: what was read before stays in force`,
    });
    const problems = line?.["problems"];
    expect(Array.isArray(problems)).toBe(true);
    expect(String((problems as string[])[0])).toMatch(problem);
    await see("permission_denied");
    expect(linesOf(system, "info")).toEqual([]);

    rmSync(file, { recursive: true, force: true });
    writeFileSync(file, viewerSeesUsers);
    await vi.waitFor(() => see("ok"), soon);
    expect(linesOf(system, "info").map((line) => line["msg"])).toEqual(["ACCESS_FILE reloaded"]);
    expect(linesOf(system, "error")).toHaveLength(1);
  });

  test("one that is broken for a moment, as while an editor writes it, is no line at all", async () => {
    const { system, file, see } = await start();
    for (let i = 0; i < 15; i++) {
      writeFileSync(file, viewerSeesUsers.slice(0, 40 + i));
      await delay(100);
    }
    writeFileSync(file, viewerSeesUsers);
    await vi.waitFor(() => see("ok"), soon);
    expect(linesOf(system, "error")).toEqual([]);
  });

  test("the same file again is as it was before, which is said as well", async () => {
    const { system, file, see } = await start();
    unlinkSync(file);
    await vi.waitFor(() => expect(linesOf(system, "error")).toHaveLength(1), 5_000);
    writeFileSync(file, usual);
    await vi.waitFor(() => {
      expect(linesOf(system, "info").map((line) => line["msg"])).toEqual(["ACCESS_FILE is as it was before"]);
    }, soon);
    await see("permission_denied");
  });
});
