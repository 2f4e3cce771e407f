import { setTimeout as sleep } from "node:timers/promises";
import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it, vi } from "vitest";
import { AuthenticationError, NotFoundError, TimeoutError } from "./errors.ts";
import type { CallDefaults } from "./options.ts";
import { OrdersService } from "./orders.ts";
import { drain, inMemory, thrownBy } from "./testing/api.ts";
import { UsersService } from "./users.ts";

/** A client whose calls answer the authorization header that came, as an id. */
function echo(defaults: CallDefaults) {
  return inMemory((router) => {
    router.service(UsersService, {
      getUser: (_, call) => ({ user: { id: call.requestHeader.get("authorization") ?? "none" } }),
    });
    router.service(OrdersService, {
      async *watchOrdersWithUser(_, call) {
        yield { order: { id: call.requestHeader.get("authorization") ?? "none" } };
      },
    });
  }, defaults);
}

type Api = ReturnType<typeof echo>;
const sentBy = async (api: Api, headers?: Record<string, string>) =>
  (await api.users.getUser({}, { headers })).user?.id;

describe("token", () => {
  it("is sent with unary calls and streams", async () => {
    const api = echo({ token: "abc" });
    expect(await sentBy(api)).toBe("Bearer abc");
    expect((await drain(api.orders.watchOrdersWithUser({}))).map(({ order }) => order?.id)).toEqual([
      "Bearer abc",
    ]);
  });

  it("is not sent if there is none", async () => {
    expect(await sentBy(echo({}))).toBe("none");
  });

  it("may come from a function, sync or async", async () => {
    expect(await sentBy(echo({ token: () => "a" }))).toBe("Bearer a");
    expect(await sentBy(echo({ token: async () => "b" }))).toBe("Bearer b");
  });

  it("gives way to an authorization header, and is then not asked for", async () => {
    const token = vi.fn(() => "abc");
    expect(await sentBy(echo({ token }), { Authorization: "Basic xyz" })).toBe("Basic xyz");
    expect(await sentBy(echo({ token, headers: { authorization: "Basic all" } }))).toBe("Basic all");
    expect(token).not.toHaveBeenCalled();
  });
});

describe("token function", () => {
  it("is asked once by calls at the same time, and again by later ones", async () => {
    let asked = 0;
    const token = async () => {
      asked += 1;
      await sleep(5);
      return `t${asked}`;
    };
    const api = echo({ token });
    expect(await Promise.all([sentBy(api), sentBy(api), sentBy(api)])).toEqual(Array(3).fill("Bearer t1"));
    expect(await sentBy(api)).toBe("Bearer t2");
    expect(asked).toBe(2);
  });

  it("is asked again after it failed", async () => {
    const token = vi.fn<() => Promise<string>>();
    token.mockRejectedValueOnce(new Error("offline")).mockResolvedValueOnce("ok");
    const api = echo({ token });
    const errors = await Promise.all([thrownBy(sentBy(api)), thrownBy(sentBy(api))]);
    for (const error of errors) {
      expect(error).toBeInstanceOf(AuthenticationError);
      expect(error).toMatchObject({ message: "Getting a token failed: offline", code: "unauthenticated" });
      expect(error).toHaveProperty("cause.message", "offline");
    }
    expect(await sentBy(api)).toBe("Bearer ok");
  });

  it("may throw at once", async () => {
    const token = () => {
      throw new NotFoundError("no session");
    };
    const error = await thrownBy(sentBy(echo({ token })));
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toHaveProperty("cause.code", "not_found");
  });

  it.each(["", "two words", "line\n"])("must not give %j", async (token) => {
    const error = await thrownBy(sentBy(echo({ token: () => token })));
    expect(error).toBeInstanceOf(AuthenticationError);
    expect(error).toHaveProperty(
      "message",
      expect.stringContaining(`it gave a string of ${token.length} char`),
    );
  });

  it("counts against the time limit", async () => {
    const api = echo({ token: () => new Promise(() => {}), timeoutMs: 20 });
    expect(await thrownBy(sentBy(api))).toBeInstanceOf(TimeoutError);
  });

  it("does not keep a canceled call waiting, and goes on for the others", async () => {
    let answer = (_token: string) => {};
    const token = vi.fn(() => new Promise<string>((resolve) => (answer = resolve)));
    const api = echo({ token });
    const canceled = new AbortController();
    const first = thrownBy(api.users.getUser({}, { signal: canceled.signal }));
    const second = sentBy(api);
    canceled.abort();
    expect(await first).toMatchObject({ code: "canceled" });
    answer("late");
    expect(await second).toBe("Bearer late");
    expect(token).toHaveBeenCalledOnce();
  });

  it("is not asked to decide what the server refuses", async () => {
    const token = vi.fn(() => "old");
    const api = inMemory(
      (router) =>
        router.service(UsersService, {
          getUser: () => {
            throw new ConnectError("The token has expired.", Code.Unauthenticated);
          },
        }),
      { token },
    );
    expect(await thrownBy(sentBy(api))).toBeInstanceOf(AuthenticationError);
    expect(token).toHaveBeenCalledOnce();
  });
});
