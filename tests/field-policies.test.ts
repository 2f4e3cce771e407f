import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { clone, equals } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  InventoryService,
  ListItemsGroupedByUsersResponseSchema,
} from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import {
  ListOrdersWithUserResponseSchema,
  OrdersService,
} from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import {
  ListUsersResponseSchema,
  UsersService,
} from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { type Answer, ask, readingWays } from "./ask.ts";
import { audience, startIssuer, type TestIssuer } from "./issuer.ts";
import { ways } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// What a caller may not read is in no answer, in any protocol, and nobody inside is asked for it.

const { createUser, getUser, listUsers } = UsersService.method;
const { createOrder, getOrderWithUser, listOrdersWithUser, watchOrdersWithUser } = OrdersService.method;
const { listItemsGroupedByUsers } = InventoryService.method;

const folder = mkdtempSync(join(tmpdir(), "portico-fields-"));
let issuer: TestIssuer;
let system: System;
beforeAll(async () => {
  const demo = fileURLToPath(new URL("../packages/gateway/src/app/access.json", import.meta.url));
  const access: { roles: object } = JSON.parse(readFileSync(demo, "utf8"));
  // Roles that see users, but not their emails.
  const roles = {
    ...access.roles,
    directory: ["users.read"],
    creator: ["users.create"],
    emails: ["users.read_email"],
  };
  writeFileSync(join(folder, "access.json"), JSON.stringify({ ...access, roles }));
  issuer = await startIssuer();
  system = await startSystem({
    env: {
      PORTICO_MODE: "production",
      AUTH_ISSUER: issuer.url,
      AUTH_AUDIENCE: audience,
      ACCESS_FILE: join(folder, "access.json"),
    },
  });
});
afterAll(async () => {
  await system.close();
  await issuer.close();
  rmSync(folder, { recursive: true });
});
afterEach(() => {
  for (const service of [system.mocks.users, system.mocks.orders]) service.calls.clear();
});

const tokenOf = (...roles: string[]) => issuer.token({ sub: "user-1", roles });
const userCalls = () => system.mocks.users.calls.all().map(({ method }) => method);
/** Everything that came over the wire, to look for emails in. An @ alone may be the length of something. */
const bytesOf = ({ body, headers, trailers }: Answer) =>
  [JSON.stringify({ headers, trailers }), body.toString("latin1")].join("\n");

describe.each(readingWays)("over %s", (way) => {
  test("orders come without the email, and no user is fetched for it", async () => {
    const answer = await ask(
      system.url,
      listOrdersWithUser,
      { pageSize: 20 },
      { way, token: tokenOf("viewer") },
    );
    expect(answer.code).toBe("ok");
    expect(answer.answers[0]?.orders).toHaveLength(20);
    expect(bytesOf(answer)).not.toMatch(/@example|userEmail|user_email/);
    expect(userCalls()).toEqual([]);
    expect(system.mocks.orders.calls.count()).toBe(1);
  });

  test("and with it for who may read it, at the price of one call; all else is the same", async () => {
    const [hidden, shown] = await Promise.all(
      ["viewer", "support"].map((role) =>
        ask(system.url, listOrdersWithUser, { pageSize: 20 }, { way, token: tokenOf(role) }),
      ),
    );
    const [all, without] = [shown?.answers[0], hidden?.answers[0]];
    if (all === undefined || without === undefined) throw new Error("there is no answer");
    expect(all.orders.filter(({ userEmail }) => userEmail.includes("@")).length).toBeGreaterThan(15);
    expect(userCalls()).toEqual(["batchGetUsers"]);
    const cleared = clone(ListOrdersWithUserResponseSchema, all);
    for (const order of cleared.orders) order.userEmail = "";
    expect(equals(ListOrdersWithUserResponseSchema, cleared, without)).toBe(true);
  });

  test("one order comes without it as well", async () => {
    const get = (role: string) =>
      ask(system.url, getOrderWithUser, { id: "order-1" }, { way, token: tokenOf(role) });
    const hidden = await get("viewer");
    expect([hidden.code, hidden.answers[0]?.order?.id]).toEqual(["ok", "order-1"]);
    expect(bytesOf(hidden)).not.toMatch(/@example|userEmail/);
    expect(userCalls()).toEqual([]);
    expect((await get("admin")).answers[0]?.order?.userEmail).toContain("@");
  });

  test("users within other messages come without it, and with all their items", async () => {
    const list = async (role: string) => {
      const answer = await ask(
        system.url,
        listItemsGroupedByUsers,
        { pageSize: 10 },
        { way, token: tokenOf(role) },
      );
      const [page] = answer.answers;
      if (page === undefined) throw new Error(answer.message);
      return { answer, page };
    };
    const [hidden, shown] = [await list("viewer"), await list("support")];
    expect(bytesOf(hidden.answer)).not.toMatch(/@example|email/i);
    expect(shown.page.users.map(({ user }) => user?.email.includes("@"))).toEqual(Array(10).fill(true));
    const cleared = clone(ListItemsGroupedByUsersResponseSchema, shown.page);
    for (const { user } of cleared.users) if (user !== undefined) user.email = "";
    expect(equals(ListItemsGroupedByUsersResponseSchema, cleared, hidden.page)).toBe(true);
    expect(hidden.page.users.some(({ items }) => items.length > 0)).toBe(true);
  });

  test("so do users themselves", async () => {
    const list = (role: string) =>
      ask(system.url, listUsers, { pageSize: 10 }, { way, token: tokenOf(role) });
    const [hidden, shown] = [await list("directory"), await list("support")];
    expect(hidden.answers[0]?.users.map(({ displayName }) => displayName)).toEqual(
      shown.answers[0]?.users.map(({ displayName }) => displayName),
    );
    expect(bytesOf(hidden)).not.toContain("@example");
    expect(bytesOf(shown)).toContain("@example.com");
    expect(equals(ListUsersResponseSchema, hidden.answers[0] ?? never(), shown.answers[0] ?? never())).toBe(
      false,
    );
    const one = await ask(system.url, getUser, { id: "user-1" }, { way, token: tokenOf("directory") });
    expect(one.answers[0]?.user).toMatchObject({ id: "user-1", email: "" });
    expect(bytesOf(one)).not.toContain("@example");
  });

  test("a role that may read it adds to another", async () => {
    const token = tokenOf("viewer", "emails");
    const answer = await ask(system.url, listOrdersWithUser, { pageSize: 3 }, { way, token });
    expect(answer.answers[0]?.orders.every(({ userEmail }) => userEmail.includes("@"))).toBe(true);
    expect(userCalls()).toEqual(["batchGetUsers"]);
  });

  test("a role that may read nothing else is not let in by it", async () => {
    const answer = await ask(system.url, listOrdersWithUser, {}, { way, token: tokenOf("emails") });
    expect(answer.code).toBe("permission_denied");
    expect(system.mocks.orders.calls.count()).toBe(0);
  });
});

describe.each(ways)("over %s", (way) => {
  test("what a call creates comes without it, even if the caller has written it", async () => {
    const email = `new-${way}@example.com`;
    const made = await ask(
      system.url,
      createUser,
      { email, displayName: "New" },
      { way, token: tokenOf("creator") },
    );
    expect(made.answers[0]?.user).toMatchObject({ displayName: "New", email: "" });
    expect(bytesOf(made)).not.toContain("@example");
    expect(system.mocks.users.calls.all("createUser")[0]?.request.email).toBe(email);

    const lineItems = [{ product: "Webcam", quantity: 1 }];
    const ordered = await ask(
      system.url,
      createOrder,
      { userId: "user-1", lineItems },
      { way, token: tokenOf("customer") },
    );
    expect(ordered.answers[0]?.order).toMatchObject({ userId: "user-1", product: "Webcam", userEmail: "" });
    expect(bytesOf(ordered)).not.toContain("@example");
  });

  test("a stream hides it in each of its messages, those from before and those that are new", async () => {
    const watch = (role: string) =>
      ask(system.url, watchOrdersWithUser, { backlog: 3 }, { way, token: tokenOf(role), timeoutMs: 1_500 });
    const watching = Promise.all([watch("viewer"), watch("support")]);
    // Both listen once they have been asked for.
    await new Promise((resolve) => setTimeout(resolve, 500));
    system.mocks.users.calls.clear();
    const lineItems = [{ product: "Webcam", quantity: 1 }];
    const request = { userId: "user-2", lineItems };
    expect((await ask(system.url, createOrder, request, { token: tokenOf("admin") })).code).toBe("ok");
    const [hidden, shown] = await watching;
    expect(hidden.code).toBe("deadline_exceeded");
    expect(hidden.answers.map(({ order }) => order?.userEmail)).toEqual(["", "", "", ""]);
    expect(hidden.answers.map(({ order }) => order?.id)).toEqual(shown.answers.map(({ order }) => order?.id));
    expect(shown.answers.every(({ order }) => order?.userEmail.includes("@"))).toBe(true);
    expect(bytesOf(hidden)).not.toContain("@example");
  });

  test("and a stream without it fetches no user", async () => {
    const token = tokenOf("viewer");
    const answer = await ask(system.url, watchOrdersWithUser, { backlog: 5 }, { way, token, timeoutMs: 400 });
    expect(answer.answers).toHaveLength(5);
    expect(userCalls()).toEqual([]);
  });
});

function never(): never {
  throw new Error("there is no answer");
}
