import { service } from "@portico/gateway";
import { expect, test } from "vitest";
import { inventoryService } from "../../packages/gateway/src/app/inventory.ts";
import { ordersService } from "../../packages/gateway/src/app/orders.ts";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { figure } from "../harness/figures.ts";
import { startLoad, summarize } from "../harness/load.ts";
import { scaled } from "../harness/settings.ts";
import { startSystem } from "../system.ts";
import { deadlineMs, inWords, ms, orderCall, steady, unhurried, userCall } from "./calls.ts";

test("B12 a handler that ignores its signal does not keep its callers waiting", async () => {
  const never = () => new Promise<never>(() => {});
  const stubborn = service(UsersService, { createUser: never, getUser: never, listUsers: never });
  await using system = await startSystem({
    env: unhurried,
    services: [stubborn, ordersService, inventoryService],
  });
  const token = await system.token("admin");
  const { url } = system;
  const calls = scaled(80, 16);
  const bystander = startLoad({ url, requests: [orderCall("grpc", token)], ...steady });
  const loads = (["h1-json", "grpc"] as const).map((way) =>
    startLoad({ url, requests: [userCall(way, token)], calls, pace: { callers: 8 }, patienceMs: 10_000 }),
  );
  const seen = (await Promise.all(loads.map(({ done }) => done))).map((result) => summarize(result));
  const others = summarize(await bystander.stop());
  const lateMs = Math.max(...seen.map(({ max }) => max - deadlineMs));
  figure({
    id: "B12",
    test: "a handler that ignores its signal, over HTTP/1.1 and gRPC",
    expected: "an answer at the deadline +-50 ms",
    measured: `${seen.map(inWords).join("; ")}; ${ms(lateMs)} after the deadline at most; others: ${inWords(others)}`,
    reached: lateMs <= 50,
  });
  for (const it of seen) expect(it.codes).toEqual({ deadline_exceeded: calls });
  expect(others.codes).toEqual({ ok: others.count });
});
