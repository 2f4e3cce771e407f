import { create, createFileRegistry, type DescMethodUnary, type Message } from "@bufbuild/protobuf";
import type { GenMessage } from "@bufbuild/protobuf/codegenv2";
import {
  FileDescriptorProtoSchema,
  FieldDescriptorProto_Label as Label,
  FieldDescriptorProto_Type as Type,
} from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, expectTypeOf, it } from "vitest";
import { InventoryService, type ListItemsGroupedByUsersResponse, type UserItems } from "./inventory.ts";
import { type ListOrdersWithUserResponse, type Order, OrderStatus, OrdersService } from "./orders.ts";
import { type Paged, type PagedMethods, pagingOf } from "./paging.ts";
import type { Portico } from "./portico.ts";
import { drain, inMemory, thrownBy } from "./testing/api.ts";
import {
  type ListUsersRequest,
  ListUsersRequestSchema,
  type ListUsersResponse,
  type User,
  UsersService,
} from "./users.ts";

/** Seven users in pages; the token is where the next page starts. */
function sevenUsers() {
  const asked: ListUsersRequest[] = [];
  const api = inMemory((router) => {
    router.service(UsersService, {
      listUsers(request) {
        asked.push(request);
        const from = Number(request.pageToken);
        const to = Math.min(from + (request.pageSize || 3), 7);
        const users = Array.from({ length: to - from }, (_, i) => ({ id: `${from + i}` }));
        return { users, nextPageToken: to < 7 ? `${to}` : "" };
      },
    });
  });
  return { api, asked };
}

const ids = (users: User[]) => users.map(({ id }) => id).join("");

describe("<method>All", () => {
  it("gets every item, page by page", async () => {
    const { api, asked } = sevenUsers();
    expect(ids(await drain(api.users.listUsersAll({ pageSize: 3 })))).toBe("0123456");
    expect(asked.map(({ pageSize, pageToken }) => `${pageSize}@${pageToken}`)).toEqual(["3@", "3@3", "3@6"]);
  });

  it("asks for nothing until it is iterated, and for no page too many", async () => {
    const { api, asked } = sevenUsers();
    const users = api.users.listUsersAll();
    expect(asked).toHaveLength(0);
    for await (const user of users) if (user.id === "2") break;
    expect(asked).toHaveLength(1);
  });

  it("starts anew when it is iterated again", async () => {
    const users = sevenUsers().api.users.listUsersAll();
    expect(ids(await drain(users))).toBe("0123456");
    expect(ids(await drain(users))).toBe("0123456");
  });

  it("starts at the page token of the request", async () => {
    const { api } = sevenUsers();
    expect(ids(await api.users.listUsersAll({ pageToken: "5" }).toArray())).toBe("56");
  });

  it("takes a message as the request, and leaves it alone", async () => {
    const { api, asked } = sevenUsers();
    const request = create(ListUsersRequestSchema, { pageSize: 4 });
    expect(ids(await api.users.listUsersAll(request).toArray())).toBe("0123456");
    expect(request).toMatchObject({ pageSize: 4, pageToken: "" });
    expect(asked.map(({ pageSize }) => pageSize)).toEqual([4, 4]);
  });

  it("keeps the filters on every page", async () => {
    const asked: string[] = [];
    const api = inMemory((router) => {
      router.service(OrdersService, {
        listOrdersWithUser({ userIds, status, pageToken }) {
          asked.push(`${userIds} ${status} ${pageToken}`);
          return { orders: [{ id: "o" }], nextPageToken: pageToken === "" ? "2" : "" };
        },
      });
    });
    const orders = api.orders.listOrdersWithUserAll({ userIds: ["a", "b"], status: OrderStatus.PAID });
    expect(await orders.toArray()).toHaveLength(2);
    expect(asked).toEqual(["a,b 2 ", "a,b 2 2"]);
  });

  it("goes on after an empty page that has a next one", async () => {
    const api = inMemory((router) => {
      router.service(InventoryService, {
        listItemsGroupedByUsers: ({ pageToken }) =>
          pageToken === "" ? { nextPageToken: "2" } : { users: [{ items: [{ id: "i" }] }] },
      });
    });
    expect(await api.inventory.listItemsGroupedByUsersAll().toArray()).toHaveLength(1);
  });

  it("gives its options to each call", async () => {
    const seen: (string | null)[] = [];
    const api = inMemory((router) => {
      router.service(UsersService, {
        listUsers({ pageToken }, call) {
          seen.push(call.requestHeader.get("x-tenant"));
          return { nextPageToken: pageToken === "" ? "2" : "" };
        },
      });
    });
    await drain(api.users.listUsersAll({}, { headers: { "x-tenant": "t" } }));
    expect(seen).toEqual(["t", "t"]);
  });

  it("stops when its signal aborts between pages", async () => {
    const { api, asked } = sevenUsers();
    const stop = new AbortController();
    const walk = async () => {
      for await (const _ of api.users.listUsersAll({}, { signal: stop.signal }).pages()) stop.abort();
    };
    expect(await thrownBy(walk())).toMatchObject({ code: "canceled" });
    expect(asked).toHaveLength(1);
  });

  it("gives what it has before a page fails", async () => {
    const api = inMemory((router) => {
      router.service(UsersService, {
        listUsers({ pageToken }) {
          if (pageToken !== "") throw new ConnectError("That is no page token.", Code.InvalidArgument);
          return { users: [{ id: "1" }], nextPageToken: "bad" };
        },
      });
    });
    const got: string[] = [];
    const walk = async () => {
      for await (const { id } of api.users.listUsersAll()) got.push(id);
    };
    expect(await thrownBy(walk())).toMatchObject({
      name: "ValidationError",
      message: "That is no page token.",
    });
    expect(got).toEqual(["1"]);
  });

  it.each([
    [["a", "a"], 2],
    [["a", "b", "a"], 3],
  ])("does not follow the tokens %j for ever", async (tokens, pages) => {
    let asked = 0;
    const api = inMemory((router) => {
      router.service(UsersService, {
        listUsers: () => ({ nextPageToken: tokens[asked++ % tokens.length] ?? "" }),
      });
    });
    const error = await thrownBy(drain(api.users.listUsersAll()));
    expect(error).toMatchObject({
      code: "internal",
      message: `ListUsers answered the same page token twice, after ${pages} pages: it would not end`,
    });
    expect(asked).toBe(pages);
  });
});

describe("pages", () => {
  it("gives the responses", async () => {
    const pages = await drain(sevenUsers().api.users.listUsersAll({ pageSize: 5 }).pages());
    expect(pages.map(({ users, nextPageToken }) => [users.length, nextPageToken])).toEqual([
      [5, "5"],
      [2, ""],
    ]);
  });
});

describe("toArray", () => {
  it.each([
    [0, "", 0],
    [2, "01", 1],
    [3, "012", 1],
    [4, "0123", 2],
    [99, "0123456", 3],
    [undefined, "0123456", 3],
  ])("with limit %s gives %j from %i pages", async (limit, expected, pages) => {
    const { api, asked } = sevenUsers();
    expect(ids(await api.users.listUsersAll().toArray({ limit }))).toBe(expected);
    expect(asked).toHaveLength(pages);
  });

  it.each([-1, 1.5, Number.NaN])("refuses the limit %s", async (limit) => {
    const error = await thrownBy(sevenUsers().api.users.listUsersAll().toArray({ limit }));
    expect(error).toMatchObject({
      name: "ValidationError",
      message: `limit must be a whole number from 0; got ${limit}`,
    });
  });
});

describe("which methods are paged", () => {
  it("is told from the descriptors", () => {
    const { api } = sevenUsers();
    const all = (client: object) => Object.keys(client).filter((name) => name.endsWith("All"));
    expect(all(api.users)).toEqual(["listUsersAll"]);
    expect(all(api.orders)).toEqual(["listOrdersWithUserAll"]);
    expect(all(api.inventory)).toEqual(["listItemsGroupedByUsersAll"]);
  });

  it.each<[string, string[], string[], boolean]>([
    ["the usual fields", ["int32 page_size", "string page_token"], ["T[] a", "string next_page_token"], true],
    [
      "more scalars",
      ["int32 page_size", "string page_token", "string q"],
      ["T[] a", "string[] b", "string next_page_token"],
      true,
    ],
    ["no size", ["string page_token"], ["T[] a", "string next_page_token"], false],
    ["no token", ["int32 page_size"], ["T[] a", "string next_page_token"], false],
    [
      "a token that is a number",
      ["int32 page_size", "int32 page_token"],
      ["T[] a", "string next_page_token"],
      false,
    ],
    ["no next token", ["int32 page_size", "string page_token"], ["T[] a"], false],
    ["no list", ["int32 page_size", "string page_token"], ["T a", "string next_page_token"], false],
    [
      "a list of scalars alone",
      ["int32 page_size", "string page_token"],
      ["string[] a", "string next_page_token"],
      false,
    ],
    [
      "two lists",
      ["int32 page_size", "string page_token"],
      ["T[] a", "T[] b", "string next_page_token"],
      false,
    ],
  ])("%s", (_, request, response, paged) => {
    expect(pagingOf(methodOf(request, response)) !== undefined).toBe(paged);
  });

  it("is by the same rule for the compiler", () => {
    type T = Message<"t.T">;
    type Size = { pageSize: number };
    type Token = { pageToken: string };
    type Next = { nextPageToken: string };
    type Paging<Request, Response> = keyof PagedMethods<{
      list: DescMethodUnary<GenMessage<Message<"t.I"> & Request>, GenMessage<Message<"t.O"> & Response>>;
    }>;
    expectTypeOf<Paging<Size & Token, { a: T[] } & Next>>().toEqualTypeOf<"listAll">();
    expectTypeOf<
      Paging<Size & Token & { q: string }, { a: T[]; b: string[] } & Next>
    >().toEqualTypeOf<"listAll">();
    expectTypeOf<Paging<Token, { a: T[] } & Next>>().toBeNever();
    expectTypeOf<Paging<Size, { a: T[] } & Next>>().toBeNever();
    expectTypeOf<Paging<Size & { pageToken: number }, { a: T[] } & Next>>().toBeNever();
    expectTypeOf<Paging<Size & Token, { a: T[] }>>().toBeNever();
    expectTypeOf<Paging<Size & Token, { a?: T } & Next>>().toBeNever();
    expectTypeOf<Paging<Size & Token, { a: string[] } & Next>>().toBeNever();
    expectTypeOf<Paging<Size & Token, { a: T[]; b: T[] } & Next>>().toBeNever();
  });

  it("is known to the compiler", () => {
    type All<Client> = Extract<keyof Client, `${string}All`>;
    expectTypeOf<All<Portico["users"]>>().toEqualTypeOf<"listUsersAll">();
    expectTypeOf<All<Portico["orders"]>>().toEqualTypeOf<"listOrdersWithUserAll">();
    expectTypeOf<All<Portico["inventory"]>>().toEqualTypeOf<"listItemsGroupedByUsersAll">();

    const { api } = sevenUsers();
    expectTypeOf(api.users.listUsersAll).returns.toEqualTypeOf<Paged<User, ListUsersResponse>>();
    expectTypeOf(api.orders.listOrdersWithUserAll).returns.toEqualTypeOf<
      Paged<Order, ListOrdersWithUserResponse>
    >();
    expectTypeOf(api.inventory.listItemsGroupedByUsersAll).returns.toEqualTypeOf<
      Paged<UserItems, ListItemsGroupedByUsersResponse>
    >();
    // @ts-expect-error a user has no pages
    expect(api.users.getUserAll).toBeUndefined();
    // @ts-expect-error the field is pageSize
    api.users.listUsersAll({ pagesize: 5 });
  });
});

/** A method whose messages have these fields, each written as type and name. */
function methodOf(request: string[], response: string[]): DescMethodUnary {
  const field = (text: string, index: number) => {
    const [type = "", name = ""] = text.split(" ");
    const base = type.replace("[]", "");
    return {
      name,
      number: index + 1,
      label: type.endsWith("[]") ? Label.REPEATED : Label.OPTIONAL,
      type: base === "string" ? Type.STRING : base === "int32" ? Type.INT32 : Type.MESSAGE,
      typeName: base === "T" ? ".t.T" : "",
    };
  };
  const file = create(FileDescriptorProtoSchema, {
    name: "t.proto",
    package: "t",
    syntax: "proto3",
    messageType: [
      { name: "T" },
      { name: "I", field: request.map(field) },
      { name: "O", field: response.map(field) },
    ],
    service: [{ name: "S", method: [{ name: "List", inputType: ".t.I", outputType: ".t.O" }] }],
  });
  const method = createFileRegistry(file, () => undefined).getService("t.S")?.methods[0];
  if (method?.methodKind !== "unary") throw new Error("no unary method");
  // The comparison above does not narrow: the type is no union.
  return method as DescMethodUnary;
}
