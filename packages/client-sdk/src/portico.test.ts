import { describe, expect, expectTypeOf, it } from "vitest";
import * as index from "./index.ts";
import * as inventory from "./inventory.ts";
import * as orders from "./orders.ts";
import { Portico } from "./portico.ts";
import { services } from "./services.ts";
import { inMemory } from "./testing/api.ts";
import * as users from "./users.ts";

describe("a client", () => {
  const api = new Portico({ baseUrl: "http://localhost" });

  it("is a Portico with a member for each service", () => {
    expect(api).toBeInstanceOf(Portico);
    expect(Object.keys(api)).toEqual(Object.keys(services));
    expect(Reflect.set(api, "users", 1)).toBe(false);
  });

  it("has a function for every rpc of the descriptors, and does not look like a promise", async () => {
    for (const [name, { methods }] of Object.entries(services)) {
      const client: unknown = Reflect.get(api, name);
      for (const { localName } of methods) expect(client).toHaveProperty(localName, expect.any(Function));
      expect(await client).toBe(client);
    }
  });

  it("may be extended", async () => {
    class MyApi extends Portico {
      emailOf = async (id: string) => (await this.users.getUser({ id })).user?.email;
    }
    expect(new MyApi({ baseUrl: "http://localhost" })).toBeInstanceOf(Portico);
  });

  it("works when its functions are taken out", async () => {
    const { users: client } = inMemory((router) =>
      router.service(users.UsersService, { getUser: ({ id }) => ({ user: { id } }) }),
    );
    const { getUser } = client;
    expect((await getUser({ id: "1" })).user?.id).toBe("1");
  });

  it("is typed by the descriptors", () => {
    expectTypeOf(api.users.getUser).returns.resolves.toEqualTypeOf<users.GetUserResponse>();
    expectTypeOf(api.orders.watchOrdersWithUser).returns.toEqualTypeOf<
      AsyncIterable<orders.WatchOrdersWithUserResponse>
    >();
    expectTypeOf<keyof Portico["users"]>().toEqualTypeOf<
      "createUser" | "getUser" | "listUsers" | "listUsersAll"
    >();
    // @ts-expect-error there is no such field
    const typo = () => api.users.getUser({ ID: "1" });
    // @ts-expect-error there is no such option
    const option = () => api.users.getUser({}, { timeout: 5 });
    // @ts-expect-error there is no such rpc
    const method = () => api.users.deleteUser({});
    expect([typo, option, method]).toHaveLength(3);
  });
});

describe("the index", () => {
  it.each(Object.entries({ users, orders, inventory }))("has all that ./%s has", (_, subpath) => {
    for (const [name, value] of Object.entries(subpath)) expect(index).toHaveProperty(name, value);
  });

  it("has the types as well", () => {
    expectTypeOf<index.Order>().toEqualTypeOf<orders.Order>();
    expectTypeOf<index.User>().toEqualTypeOf<users.User>();
    expectTypeOf<index.UserItems>().toEqualTypeOf<inventory.UserItems>();
  });
});
