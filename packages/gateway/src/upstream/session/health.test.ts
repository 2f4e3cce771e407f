import { once } from "node:events";
import { Code, ConnectError, type ConnectRouter } from "@connectrpc/connect";
import { afterEach, expect, test } from "vitest";
import { Health, HealthCheckResponse_ServingStatus as Status } from "../../gen/grpc/health/v1/health_pb.ts";
import { connectTo, endAll, eventually, failure, startWarehouse } from "../../testing/upstream-servers.ts";

afterEach(endAll);

/** A health service whose answer can be changed; `undefined` is an error. */
function health(first: Status | undefined) {
  let status = first;
  let changed = Promise.withResolvers<void>();
  let watchers = 0;
  const asked: string[] = [];
  const routes = (router: ConnectRouter) =>
    void router.service(Health, {
      async *watch({ service }, { signal }) {
        asked.push(service);
        watchers += 1;
        const left = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve()));
        try {
          while (!signal.aborted) {
            if (status === undefined) throw new ConnectError("no idea", Code.Internal);
            yield { status };
            await Promise.race([changed.promise, left]);
          }
        } finally {
          watchers -= 1;
        }
      },
    });
  const set = (next: Status | undefined) => {
    status = next;
    changed.resolve();
    changed = Promise.withResolvers<void>();
  };
  return { routes, set, asked, watchers: () => watchers };
}

test("an address that does not serve gets no calls, until it serves", async () => {
  const states = [health(Status.SERVING), health(Status.NOT_SERVING)];
  const servers = await Promise.all(states.map(({ routes }) => startWarehouse({ routes })));
  const { client, session } = connectTo(
    servers.map(({ port }) => port),
    { healthCheck: true },
  );
  await session.connect();
  await eventually(() => session.facts().addresses.some(({ serving }) => !serving));
  for (let times = 0; times < 10; times += 1) await client.getCrate({});
  expect(servers.map((server) => server.calls())).toEqual([10, 0]);
  states[0]?.set(Status.NOT_SERVING);
  states[1]?.set(Status.SERVING);
  await eventually(() => session.facts().addresses[0]?.serving === false);
  await eventually(() => session.facts().addresses[1]?.serving === true);
  for (let times = 0; times < 10; times += 1) await client.getCrate({});
  expect(servers.map((server) => server.calls())).toEqual([10, 10]);
  // Watching is no call.
  await eventually(() => session.facts().addresses.every(({ inFlight }) => inFlight === 0));
});

test("when nothing serves, calls fail at once, and the session is unreachable", async () => {
  const { routes, set } = health(Status.NOT_SERVING);
  const server = await startWarehouse({ routes });
  const { client, session } = connectTo([server.port], { healthCheck: true });
  expect(await failure(client.getCrate({}))).toMatchObject({
    code: Code.Unavailable,
    rawMessage: `upstream warehouse cannot be reached: 127.0.0.1:${server.port}: does not serve`,
  });
  expect(session.state()).toBe("unreachable");
  set(Status.SERVING);
  await eventually(() => session.state() === "ready");
  await client.getCrate({});
  expect(server.accepted()).toBe(1);
});

test("a service may be asked about", async () => {
  const { routes, asked } = health(Status.SERVING);
  const server = await startWarehouse({ routes });
  await connectTo([server.port], { healthCheck: { service: "acme.Warehouse" } }).client.getCrate({});
  expect(asked).toEqual(["acme.Warehouse"]);
});

test("a server without health checks serves", async () => {
  const server = await startWarehouse();
  const { client, session } = connectTo([server.port], { healthCheck: true });
  expect((await client.getCrate({ code: "A" })).crate?.code).toBe("A");
  expect(session.facts().addresses).toMatchObject([{ state: "ready", serving: true }]);
});

test("one whose health check fails does not serve, and is asked again", async () => {
  const { routes, set, asked } = health(undefined);
  const server = await startWarehouse({ routes });
  const { client, session } = connectTo([server.port], { healthCheck: true });
  await failure(client.getCrate({}));
  await eventually(() => asked.length > 2);
  set(Status.SERVING);
  await eventually(() => session.state() === "ready");
  await client.getCrate({});
});

test("one whose health check does not answer does not serve", async () => {
  const routes = (router: ConnectRouter) =>
    void router.service(Health, {
      async *watch(_, { signal }) {
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    });
  const server = await startWarehouse({ routes });
  const { client } = connectTo([server.port], { healthCheck: true, connectTimeoutMs: 100 });
  expect((await failure(client.getCrate({}))).rawMessage).toContain("does not serve");
});

test("an old connection is kept until its successor serves", async () => {
  let watches = 0;
  const routes = (router: ConnectRouter) =>
    void router.service(Health, {
      async *watch(_, { signal }) {
        watches += 1;
        yield { status: watches > 1 && watches < 4 ? Status.NOT_SERVING : Status.SERVING };
        if (!signal.aborted) await once(signal, "abort");
      },
    });
  const server = await startWarehouse({ routes });
  const { client } = connectTo([server.port], { healthCheck: true, maxAgeMs: 100 });
  while (watches < 6) expect((await client.getCrate({ code: "A" })).crate?.code).toBe("A");
});

test("the watch does not keep a connection open that the other side, or we, want to end", async () => {
  const { routes, watchers } = health(Status.SERVING);
  const server = await startWarehouse({ routes });
  const { client, session } = connectTo([server.port], { healthCheck: true });
  await client.getCrate({});
  server.goAway();
  await eventually(() => server.open() === 0 && watchers() === 0);
  await client.getCrate({});
  session.close();
  await eventually(() => server.open() === 0 && watchers() === 0);
});
