import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { InventoryService } from "../../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService } from "../../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { startLoad, summarize } from "../harness/load.ts";
import { type PreparedRequest, prepare } from "../harness/requests.ts";
import { scaled } from "../harness/settings.ts";
import { type ServiceName, startUpstreams } from "../harness/upstream-process.ts";
import { rawCall } from "../raw-call.ts";
import { causes, codeOf, orderCall, patientMs, steady, unhurried, userCall } from "./calls.ts";

test("B13 what a dead service takes along is what the views declare, and nothing else", async () => {
  await using upstreams = await startUpstreams({ users: 20, orders: 50, items: 20 });
  await using gateway = await startGateway(upstreams.urls, unhurried);
  const token = await gateway.token();
  const { url } = gateway;
  const { listOrdersWithUser } = OrdersService.method;
  const { listItemsGroupedByUsers } = InventoryService.method;
  const options = { token, timeoutMs: patientMs };
  const calls: Readonly<Record<string, PreparedRequest>> = {
    "a user": userCall("grpc", token, patientMs),
    "orders alone": orderCall("grpc", token),
    "orders with emails": prepare("grpc", listOrdersWithUser, { pageSize: 5 }, options),
    "users with items": prepare("grpc", listItemsGroupedByUsers, { pageSize: 5 }, options),
  };
  // Emails are declared `onError: "partial"`; nothing else is.
  const declared: Readonly<Record<ServiceName, readonly string[]>> = {
    users: ["a user", "users with items"],
    orders: ["orders alone", "orders with emails"],
    inventory: ["users with items"],
  };
  const measured: string[] = [];
  const wrong: string[] = [];
  const names = Object.keys(calls);
  for (const dead of ["users", "orders", "inventory"] as const) {
    await upstreams.stop(dead);
    // Until the gateway knows: what was in flight is B1's.
    await delay(200);
    const loads = Object.values(calls).map((request) => startLoad({ url, requests: [request], ...steady }));
    await delay(scaled(2_000, 500));
    const ended = (await Promise.all(loads.map((load) => load.stop()))).map(
      (result) => summarize(result).codes,
    );
    const failing = names.filter((_, index) => ended[index]?.["ok"] === undefined);
    names.forEach((name, index) => {
      const wanted = declared[dead].includes(name) ? "unavailable" : "ok";
      const others = Object.keys(ended[index] ?? {}).filter((code) => code !== wanted);
      if (others.length > 0) wrong.push(`without ${dead}, ${name}: ${JSON.stringify(ended[index])}`);
    });
    measured.push(`without ${dead}: ${failing.join(" and ")} unavailable`);
    if (dead === "users") {
      const got = await rawCall(url, listOrdersWithUser, { pageSize: 5 }, { token });
      expect(got.code).toBe("ok");
      expect(got.headers).toHaveProperty("portico-partial-bin");
      expect(got.body.toString()).not.toContain("userEmail");
      measured.push("orders come without emails, and say so");
    }
    await upstreams.restartService(dead);
    for (const request of Object.values(calls))
      await expect.poll(() => codeOf(url, request), { timeout: 30_000, interval: 50 }).toBe("ok");
  }
  figure({
    id: "B13",
    test: "each of 3 upstreams dead in turn, under load",
    expected: "what the policy declares, nothing else",
    measured: wrong.length === 0 ? measured.join("; ") : wrong.join("; "),
    reached: wrong.length === 0,
  });
  expect(wrong, JSON.stringify(causes(gateway))).toEqual([]);
  expect(gateway.crashes()).toEqual([]);
});
