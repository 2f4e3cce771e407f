import { Code, createClient } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { UserStatus, UsersService } from "./gen/smpl/users/v1/users_service_pb.ts";
import { createMocks } from "./mocks.ts";

const connect = (users = 250) => createClient(UsersService, createMocks({ users }).users.transport);

describe("GetUser", () => {
  it("finds a user", async () => {
    const { user } = await connect().getUser({ id: "user-250" });
    expect(user).toMatchObject({ id: "user-250", email: expect.stringMatching(/\.250@example\.com$/) });
  });

  it.each(["user-251", "user-0", "order-1", ""])("answers NOT_FOUND for %o", async (id) => {
    await expect(connect().getUser({ id })).rejects.toMatchObject({ code: Code.NotFound });
  });
});

describe("CreateUser", () => {
  it("creates a user that is then found and listed", async () => {
    const client = connect(2);
    const before = Date.now();
    const { user } = await client.createUser({ email: "new@example.com", displayName: "Néw" });
    expect(user).toMatchObject({
      id: "user-3",
      email: "new@example.com",
      displayName: "Néw",
      status: UserStatus.ACTIVE,
    });
    expect(Number(user?.createTime?.seconds)).toBeGreaterThanOrEqual(Math.floor(before / 1_000));
    expect((await client.getUser({ id: "user-3" })).user).toEqual(user);
    expect((await client.listUsers({})).users.at(-1)).toEqual(user);
  });

  it.each([
    "ada.lovelace.1@example.com",
    "Ada.Lovelace.1@Example.com",
    "twice@example.com",
    "TWICE@example.com",
  ])("answers ALREADY_EXISTS for %s", async (email) => {
    const client = connect();
    await client.createUser({ email: "twice@example.com" });
    await expect(client.createUser({ email })).rejects.toMatchObject({ code: Code.AlreadyExists });
  });

  it.each(["", "  "])("answers INVALID_ARGUMENT for the email %o", async (email) => {
    await expect(connect().createUser({ email })).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});

describe("ListUsers", () => {
  it("gives 100 by default, oldest first, and all in the end", async () => {
    const client = connect(250);
    const sizes: number[] = [];
    const ids: string[] = [];
    let pageToken = "";
    do {
      const page = await client.listUsers({ pageToken });
      sizes.push(page.users.length);
      ids.push(...page.users.map((user) => user.id));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(sizes).toEqual([100, 100, 50]);
    expect(ids).toEqual(Array.from({ length: 250 }, (_, index) => `user-${index + 1}`));
  });

  it("gives no token when the last page is full, and 1,000 to who asks for more", async () => {
    expect((await connect(100).listUsers({})).nextPageToken).toBe("");
    expect((await connect(1_500).listUsers({ pageSize: 1_400 })).users).toHaveLength(1_000);
  });

  it("goes on where it was when users are created meanwhile", async () => {
    const client = connect(3);
    const first = await client.listUsers({ pageSize: 2 });
    await client.createUser({ email: "new@example.com" });
    const second = await client.listUsers({ pageSize: 2, pageToken: first.nextPageToken });
    expect(second.users.map((user) => user.id)).toEqual(["user-3", "user-4"]);
  });

  it("works without users", async () => {
    expect(await connect(0).listUsers({})).toMatchObject({ users: [], nextPageToken: "" });
  });

  it("answers INVALID_ARGUMENT for a negative size, naming the field", async () => {
    const call = connect().listUsers({ pageSize: -1 });
    await expect(call).rejects.toMatchObject({
      code: Code.InvalidArgument,
      rawMessage: expect.stringContaining("page_size"),
    });
  });

  it.each([
    "x",
    "orders:1",
    "users:",
    "users:-1",
    "users:1.5",
    "users:1e1",
    "users:01",
    "users:250",
    "users:5:5",
  ])("answers INVALID_ARGUMENT for a token of %o", async (text) => {
    const client = connect(250);
    for (const pageToken of [
      text,
      Buffer.from(text).toString("base64url"),
      `${Buffer.from("users:1").toString("base64url")}=`,
    ]) {
      await expect(client.listUsers({ pageToken })).rejects.toMatchObject({ code: Code.InvalidArgument });
    }
  });
});

describe("BatchGetUsers", () => {
  it("finds those that exist, each once", async () => {
    const { users } = await connect().batchGetUsers({ ids: ["user-9", "user-1", "nobody", "user-9"] });
    expect(users.map((user) => user.id).sort()).toEqual(["user-1", "user-9"]);
  });

  it("takes 1,000 ids and answers INVALID_ARGUMENT for more", async () => {
    const ids = Array.from({ length: 1_000 }, (_, index) => `user-${index + 1}`);
    expect((await connect(1_000).batchGetUsers({ ids })).users).toHaveLength(1_000);
    const call = connect().batchGetUsers({ ids: [...ids, "user-1"] });
    await expect(call).rejects.toMatchObject({ code: Code.InvalidArgument });
  });
});
