import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { describe, expect, it, vi } from "vitest";
import { ConnectionError, TimeoutError, ValidationError } from "./errors.ts";
import { type OrderStatus, OrdersService } from "./orders.ts";
import { Portico } from "./portico.ts";
import { drain, serve, serveHttp, thrownBy } from "./testing/api.ts";
import { UsersService } from "./users.ts";

/** A port on which nobody listens: that of a server which has just stopped. */
async function closedPort(): Promise<string> {
  const { createServer } = await import("node:net");
  const server = createServer();
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  return `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
}

const hang = () => new Promise<never>(() => {});

describe("over a socket", () => {
  it("sends and gets messages, unary and streamed", async () => {
    const { baseUrl } = await serve((router) => {
      router.service(UsersService, { getUser: ({ id }) => ({ user: { id, email: "ada@example.com" } }) });
      router.service(OrdersService, {
        listOrdersWithUser: () => ({
          orders: [{ status: 77 as OrderStatus, total: { units: 9_007_199_254_740_993n } }],
        }),
        async *watchOrdersWithUser() {
          yield { order: { id: "1" } };
          yield { order: { id: "2" } };
        },
      });
    });
    const api = new Portico({ baseUrl });
    expect((await api.users.getUser({ id: "7" })).user).toMatchObject({ id: "7", email: "ada@example.com" });
    expect(await drain(api.orders.watchOrdersWithUser({}))).toHaveLength(2);
    // Neither a status that this SDK has no name for nor a big number gets lost.
    const { orders } = await api.orders.listOrdersWithUser({});
    expect(orders[0]).toMatchObject({ status: 77, total: { units: 9_007_199_254_740_993n } });
  });

  it("sends only headers that a browser may send to another origin", async () => {
    const { baseUrl, requests } = await serve((router) =>
      router.service(UsersService, { getUser: () => ({}) }),
    );
    await new Portico({ baseUrl, token: "abc" }).users.getUser({});
    const fromFetch = ["host", "connection", "accept", "accept-encoding", "accept-language"];
    const sent = Object.keys(requests[0]?.headers ?? {}).filter((name) => !fromFetch.includes(name));
    expect(sent.filter((name) => !name.startsWith("sec-fetch-") && name !== "user-agent").sort()).toEqual([
      "authorization",
      "connect-protocol-version",
      "connect-timeout-ms",
      "content-length",
      "content-type",
    ]);
  });

  it("keeps the path of the base URL", async () => {
    const { baseUrl, requests } = await serve(() => {});
    await thrownBy(new Portico({ baseUrl: `${baseUrl}/api/` }).users.getUser({}));
    expect(requests[0]?.url).toBe("/api/smpl.api.users.v1.UsersService/GetUser");
  });

  it("sends headers of the client and of the call, the latter first", async () => {
    const { baseUrl, requests } = await serve((router) =>
      router.service(UsersService, { getUser: () => ({}) }),
    );
    const api = new Portico({ baseUrl, headers: { "x-a": "client", "x-b": "client" } });
    await api.users.getUser({}, { headers: new Headers({ "X-B": "call" }) });
    expect(requests[0]?.headers).toMatchObject({ "x-a": "client", "x-b": "call" });
  });

  it("runs interceptors, which see the errors of Connect", async () => {
    const { baseUrl } = await serve(() => {});
    const seen: unknown[] = [];
    const interceptor: Interceptor = (next) => async (request) => {
      seen.push(request.header.get("authorization"));
      return next(request).catch((error: unknown) => {
        seen.push(error instanceof ConnectError && error.code === Code.Unimplemented);
        throw error;
      });
    };
    await thrownBy(new Portico({ baseUrl, token: "abc", interceptors: [interceptor] }).users.getUser({}));
    expect(seen).toEqual(["Bearer abc", true]);
  });

  it("uses the fetch that it is given, or else the global one of the moment", async () => {
    const { baseUrl } = await serve((router) => router.service(UsersService, { getUser: () => ({}) }));
    const fetch = vi.fn(globalThis.fetch);
    await new Portico({ baseUrl, fetch }).users.getUser({});
    expect(fetch).toHaveBeenCalledOnce();
    const api = new Portico({ baseUrl });
    vi.stubGlobal("fetch", fetch);
    try {
      await api.users.getUser({});
    } finally {
      vi.unstubAllGlobals();
    }
    expect(fetch).toHaveBeenCalledTimes(2);
  });
});

describe("limits", () => {
  const slow = () => serve((router) => router.service(UsersService, { getUser: hang }));

  it.each<[string, { timeoutMs?: number }, { timeoutMs?: number }]>([
    ["client", { timeoutMs: 30 }, {}],
    ["call", {}, { timeoutMs: 30 }],
    ["call over the client", { timeoutMs: 60_000 }, { timeoutMs: 29.5 }],
  ])("a time limit of the %s", async (_, client, call) => {
    const { baseUrl, requests } = await slow();
    const error = await thrownBy(new Portico({ baseUrl, ...client }).users.getUser({}, call));
    expect(error).toBeInstanceOf(TimeoutError);
    expect(requests[0]?.headers["connect-timeout-ms"]).toBe("30");
  });

  it("30 seconds by default", async () => {
    const { baseUrl, requests } = await serve((router) =>
      router.service(UsersService, { getUser: () => ({}) }),
    );
    await new Portico({ baseUrl }).users.getUser({});
    expect(requests[0]?.headers["connect-timeout-ms"]).toBe("30000");
  });

  it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])("refuses timeoutMs %s", async (timeoutMs) => {
    const error = await thrownBy(
      new Portico({ baseUrl: "http://localhost" }).users.getUser({}, { timeoutMs }),
    );
    expect(error).toBeInstanceOf(ValidationError);
    expect(error).toHaveProperty("message", expect.stringContaining(`got ${timeoutMs}`));
  });

  it("refuses headers that cannot be sent", async () => {
    const call = new Portico({ baseUrl: "http://localhost" }).users.getUser({}, { headers: { "a b": "" } });
    expect(await thrownBy(call)).toBeInstanceOf(ValidationError);
  });

  it.each([
    ["before", undefined],
    ["during", 20],
  ])("a signal that aborts %s the call", async (_, afterMs) => {
    const { baseUrl } = await slow();
    const stop = new AbortController();
    const reason = new ConnectError("mine", Code.NotFound);
    if (afterMs === undefined) stop.abort(reason);
    else setTimeout(() => stop.abort(reason), afterMs);
    const error = await thrownBy(new Portico({ baseUrl }).users.getUser({}, { signal: stop.signal }));
    expect(error).toMatchObject({
      name: "PorticoError",
      code: "canceled",
      message: "The call was canceled by its signal",
      cause: reason,
    });
  });
});

describe("a network that fails", () => {
  it("refuses the connection", async () => {
    const baseUrl = await closedPort();
    const api = new Portico({ baseUrl });
    const message = `No connection to ${baseUrl}: ECONNREFUSED`;
    for (const call of [
      () => api.users.getUser({}),
      () => drain(api.orders.watchOrdersWithUser({})),
      () => api.users.listUsersAll().toArray(),
    ]) {
      const error = await thrownBy(call);
      expect(error).toBeInstanceOf(ConnectionError);
      expect(error).toMatchObject({ code: "unavailable", message });
      expect(error).toHaveProperty("cause.message", "fetch failed");
    }
  });

  it("closes before the answer", async () => {
    const { baseUrl } = await serveHttp((request) => request.socket.destroy());
    const error = await thrownBy(new Portico({ baseUrl }).users.getUser({}));
    expect(error).toBeInstanceOf(ConnectionError);
  });

  it("breaks off in the middle of an answer", async () => {
    const { baseUrl } = await serveHttp((_, response) => {
      response.writeHead(200, { "content-type": "application/proto", "content-length": "100" });
      response.write("x", () => response.destroy());
    });
    const error = await thrownBy(new Portico({ baseUrl }).users.getUser({}));
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toHaveProperty(
      "message",
      expect.stringContaining(`The connection to ${baseUrl} broke off`),
    );
  });

  it.each([
    ["cut", (end: { end: () => void; destroy: () => void }) => end.destroy()],
    ["ended early", (end: { end: () => void; destroy: () => void }) => end.end()],
  ])("in the middle of a stream that is %s, with the request id of the call", async (_, finish) => {
    const { baseUrl } = await serveHttp((_, response) => {
      response.writeHead(200, { "content-type": "application/connect+proto", "x-request-id": "r-9" });
      // An empty message, then the head of one that does not come.
      response.write(Buffer.from([0, 0, 0, 0, 0]));
      response.write(Buffer.from([0, 0, 0, 0, 9, 1]));
      setTimeout(() => finish(response), 20);
    });
    let messages = 0;
    const watch = async () => {
      for await (const _ of new Portico({ baseUrl }).orders.watchOrdersWithUser({})) messages += 1;
    };
    const error = await thrownBy(watch());
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toMatchObject({ code: "unavailable", requestId: "r-9" });
    expect(messages).toBe(1);
  });

  it("ends a stream without its last envelope", async () => {
    const { baseUrl } = await serveHttp((_, response) => {
      response.writeHead(200, { "content-type": "application/connect+proto" });
      response.end(Buffer.from([0, 0, 0, 0, 0]));
    });
    const error = await thrownBy(drain(new Portico({ baseUrl }).orders.watchOrdersWithUser({})));
    expect(error).toBeInstanceOf(ConnectionError);
  });

  it("is told from a fetch of one's own that throws something else", async () => {
    const fetch = async () => {
      throw new Error("no route");
    };
    const error = await thrownBy(new Portico({ baseUrl: "http://a.example", fetch }).users.getUser({}));
    expect(error).toBeInstanceOf(ConnectionError);
    expect(error).toHaveProperty("message", "No connection to http://a.example: no route");
  });
});

describe("an answer that is not the API's", () => {
  it.each([
    [404, "text/html", "unimplemented", "HTTP 404"],
    [200, "text/html", "unknown", "unsupported content type text/html"],
  ])("HTTP %i with %s says to check the address", async (status, type, code, what) => {
    const { baseUrl } = await serveHttp((_, response) => {
      response.writeHead(status, { "content-type": type, "x-request-id": "r-1" }).end("<html>");
    });
    expect(await thrownBy(new Portico({ baseUrl }).users.getUser({}))).toMatchObject({
      code,
      message: `${baseUrl} does not answer as the API does (${what}): check baseUrl (request id: r-1)`,
    });
  });

  it.each([
    [502, "ConnectionError"],
    [401, "AuthenticationError"],
    [403, "PermissionError"],
  ])("HTTP %i of a proxy is a %s", async (status, name) => {
    const { baseUrl } = await serveHttp((_, response) => response.writeHead(status).end("no"));
    expect(await thrownBy(new Portico({ baseUrl }).users.getUser({}))).toMatchObject({ name });
  });

  it("that cannot be decoded is a PorticoError too", async () => {
    const { baseUrl } = await serveHttp((_, response) => {
      response.writeHead(200, { "content-type": "application/proto" }).end(Buffer.from([0xff, 0xff]));
    });
    expect(await thrownBy(new Portico({ baseUrl }).users.getUser({}))).toMatchObject({ code: "internal" });
  });
});

describe("a request that cannot be encoded", () => {
  // From JavaScript, or past an `any`, where the compiler cannot tell.
  it.each([
    ["listUsers", { pageSize: 1.5 }],
    ["listUsersAll", { pageSize: "x" }],
  ])("is a ValidationError: %s %j", async (name, request) => {
    const { baseUrl, requests } = await serve(() => {});
    const { users } = new Portico({ baseUrl });
    const method: unknown = Reflect.get(users, name);
    if (typeof method !== "function") throw new Error(`no ${name}`);
    const result: unknown = method(request);
    const call = result instanceof Promise ? result : drain(result as AsyncIterable<unknown>);
    const error = await thrownBy(call);
    expect(error).toBeInstanceOf(ValidationError);
    expect(error).toHaveProperty(
      "message",
      expect.stringMatching(/^The request is not a valid ListUsersRequest: cannot encode/),
    );
    expect(requests).toHaveLength(0);
  });

  it("in a stream as well, and for a null in a list", async () => {
    const { baseUrl } = await serve(() => {});
    const { orders } = new Portico({ baseUrl });
    const stream = orders.watchOrdersWithUser({ backlog: 1.5 });
    expect(await thrownBy(drain(stream))).toBeInstanceOf(ValidationError);
    // @ts-expect-error null is no line item
    const call = orders.createOrder({ lineItems: [null] });
    expect(await thrownBy(call)).toBeInstanceOf(ValidationError);
  });
});
