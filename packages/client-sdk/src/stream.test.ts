import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it, vi } from "vitest";
import { OrdersService } from "./orders.ts";
import { Portico } from "./portico.ts";
import { stoppable } from "./stream.ts";
import { drain, inMemory, type Routes, serve, thrownBy } from "./testing/api.ts";

/** Sends `backlog` orders and then keeps still until the caller leaves. */
function quiet() {
  const state = { started: 0, left: 0 };
  const routes: Routes = (router) => {
    router.service(OrdersService, {
      async *watchOrdersWithUser({ backlog }, call) {
        state.started += 1;
        for (let i = 1; i <= backlog; i++) yield { order: { id: `${i}` } };
        await new Promise((resolve) => call.signal.addEventListener("abort", resolve));
        state.left += 1;
      },
    });
  };
  return { state, routes };
}

describe("a server stream over a socket", () => {
  it("gives each message when it comes, and ends on the server when the loop is left", async () => {
    const { state, routes } = quiet();
    const api = new Portico(await serve(routes).then(({ baseUrl }) => ({ baseUrl })));
    for await (const { order } of api.orders.watchOrdersWithUser({ backlog: 3 }))
      if (order?.id === "2") break;
    await vi.waitFor(() => expect(state).toEqual({ started: 1, left: 1 }));
  });

  it("ends on the server when it is left while no message is there", async () => {
    const { state, routes } = quiet();
    const { baseUrl } = await serve(routes);
    const messages = new Portico({ baseUrl }).orders
      .watchOrdersWithUser({ backlog: 1 })
      [Symbol.asyncIterator]();
    expect((await messages.next()).value?.order?.id).toBe("1");
    const pending = messages.next();
    await messages.return?.();
    expect(await pending).toEqual({ done: true, value: undefined });
    await vi.waitFor(() => expect(state.left).toBe(1));
  });

  it("ends with code canceled when its signal aborts", async () => {
    const { state, routes } = quiet();
    const { baseUrl } = await serve(routes);
    const stop = new AbortController();
    const got: (string | undefined)[] = [];
    const watch = async () => {
      const orders = new Portico({ baseUrl }).orders.watchOrdersWithUser(
        { backlog: 1 },
        { signal: stop.signal },
      );
      for await (const { order } of orders) {
        got.push(order?.id);
        setTimeout(() => stop.abort(), 5);
      }
    };
    expect(await thrownBy(watch())).toMatchObject({ name: "PorticoError", code: "canceled" });
    expect(got).toEqual(["1"]);
    await vi.waitFor(() => expect(state.left).toBe(1));
  });

  it("has no time limit of the client, only its own", async () => {
    const { routes } = quiet();
    const { baseUrl } = await serve(routes);
    const api = new Portico({ baseUrl, timeoutMs: 20 });
    const messages = api.orders.watchOrdersWithUser({ backlog: 1 })[Symbol.asyncIterator]();
    await messages.next();
    const pending = messages.next();
    expect(await Promise.race([pending, sleep(100, "still open")])).toBe("still open");
    await messages.return?.();
    const limited = drain(api.orders.watchOrdersWithUser({ backlog: 1 }, { timeoutMs: 50 }));
    expect(await thrownBy(limited)).toMatchObject({ name: "TimeoutError", code: "deadline_exceeded" });
  });
});

describe("a server stream", () => {
  it("starts when it is iterated, and anew each time", async () => {
    let started = 0;
    const api = inMemory((router) => {
      router.service(OrdersService, {
        async *watchOrdersWithUser() {
          started += 1;
          yield {};
        },
      });
    });
    const stream = api.orders.watchOrdersWithUser({});
    expect(started).toBe(0);
    expect(await drain(stream)).toHaveLength(1);
    expect(await drain(stream)).toHaveLength(1);
    expect(started).toBe(2);
  });

  it("does not start when its signal has aborted", async () => {
    const { state, routes } = quiet();
    const stream = inMemory(routes).orders.watchOrdersWithUser({}, { signal: AbortSignal.abort() });
    expect(await thrownBy(drain(stream))).toMatchObject({ code: "canceled" });
    expect(state.started).toBe(0);
  });
});

describe("stoppable", () => {
  it("lets go of the caller's signal", async () => {
    const { signal } = new AbortController();
    const add = vi.spyOn(signal, "addEventListener");
    const remove = vi.spyOn(signal, "removeEventListener");
    const numbers = stoppable(signal, async function* () {
      yield 1;
      yield 2;
    });
    expect(await drain(numbers)).toEqual([1, 2]);
    for await (const _ of numbers) break;
    expect(add).toHaveBeenCalledTimes(2);
    expect(remove).toHaveBeenCalledTimes(2);
  });

  it("aborts the source with the caller's reason", async () => {
    const stop = new AbortController();
    const reasons = stoppable(stop.signal, async function* (signal) {
      stop.abort("enough");
      yield signal.reason;
    });
    expect(await drain(reasons)).toEqual(["enough"]);
  });

  it("may be left before it starts", async () => {
    const source = vi.fn(async function* () {});
    const iterator = stoppable(undefined, source)[Symbol.asyncIterator]();
    expect(await iterator.return?.()).toEqual({ done: true, value: undefined });
    expect(source).not.toHaveBeenCalled();
  });
});
