import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { rawCall, ways } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// Nothing that a caller sends looks to an internal service as if the gateway had said it.

/** What the gateway sets, and what HTTP/2 and gRPC need. A header that is not here is a leak. */
const allowed = new Set([
  ...["x-request-id", "x-portico-kind", "x-portico-issuer", "x-portico-subject", "x-portico-roles"],
  ...["content-type", "te", "user-agent", "grpc-timeout", "grpc-accept-encoding"],
]);

const spoofed: Record<string, string> = {
  "x-portico-subject": "root",
  "x-portico-roles": "admin",
  "x-portico-tenant": "other",
  "X-Portico-Kind": "certificate",
  "x-user-id": "root",
  "x-user-roles": "admin",
  "x-forwarded-for": "10.9.9.9",
  "x-forwarded-user": "root",
  "x-real-ip": "10.9.9.9",
  forwarded: "for=10.9.9.9",
  "grpc-trace-bin": "AAAA",
  "grpc-tags-bin": "AAAA",
  "grpc-previous-rpc-attempts": "9",
  "x-envoy-original-path": "/admin",
  traceparent: "00-".padEnd(2_000, "a"),
  tracestate: "a=".padEnd(2_000, "b"),
  baggage: "role=admin",
  cookie: "session=root",
};

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system.close());
afterEach(() => system.mocks.users.calls.clear());

const seenBy = (service: "users" | "orders") =>
  system.mocks[service].calls.all().map(({ headers }) => headers);

describe.each(ways)("over %s", (way) => {
  test("internal services see what the gateway says, and nothing of the caller's", async () => {
    const token = await system.token("support", "ada@example.com");
    const headers = { ...spoofed, "x-request-id": `spoof-${way.replace("+", "-")}` };
    const { code } = await rawCall(system.url, UsersService.method.listUsers, {}, { way, token, headers });
    expect(code).toBe("ok");
    const [seen, ...others] = seenBy("users");
    expect(others).toEqual([]);
    expect(Object.keys(seen ?? {}).filter((name) => !allowed.has(name))).toEqual([]);
    expect(seen).toMatchObject({
      "x-request-id": headers["x-request-id"],
      "x-portico-kind": "token",
      "x-portico-subject": "ada@example.com",
      "x-portico-roles": "support",
    });
    expect(JSON.stringify(seen)).not.toMatch(/root|admin|10\.9\.9\.9|bbbb|Bearer/);
  });
});

test("a join is made in the caller's name as well, each of its calls", async () => {
  const token = await system.token("viewer", "linus");
  await rawCall(system.url, OrdersService.method.listOrdersWithUser, {}, { token, headers: spoofed });
  expect(seenBy("orders").length).toBeGreaterThan(0);
  for (const seen of [...seenBy("orders"), ...seenBy("users")])
    expect(seen).toMatchObject({ "x-portico-subject": "linus", "x-portico-roles": "viewer" });
});

test("an address that a caller makes up is not believed, and one that a trusted proxy gives is", async () => {
  const rpc = UsersService.method.listUsers;
  const headers = { "x-forwarded-for": "10.9.9.9", "x-request-id": "address-1" };
  await rawCall(system.url, rpc, {}, { headers });
  expect(audited(system, "address-1")).toMatchObject({ address: "127.0.0.1" });

  await using behindProxy = await startSystem({ env: { TRUSTED_PROXIES: "127.0.0.1, 10.0.0.0/8" } });
  const chain = { "x-forwarded-for": "1.2.3.4, 203.0.113.5, 10.1.1.1", "x-request-id": "address-2" };
  await rawCall(behindProxy.url, rpc, {}, { headers: chain });
  expect(audited(behindProxy, "address-2")).toMatchObject({ address: "203.0.113.5" });
});

function audited(from: System, requestId: string) {
  return from.log().find((line) => line["audit"] !== undefined && line["requestId"] === requestId);
}
