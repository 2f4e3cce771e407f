import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { OrdersService, UsersService } from "@portico/client-sdk";
import { afterAll, beforeAll, expect, test } from "vitest";
import { figure } from "../harness/figures.ts";
import { type System, startSystem } from "../system.ts";
import { connectNodeWays } from "../ways/connect-node.ts";
import type { Answer, UnaryCall } from "../ways/way.ts";

// One call in every cell of 3 protocols x 2 codecs x POST and GET x HTTP/1.1 and HTTP/2 that exists: gRPC has no HTTP/1.1,
// and GET is Connect's alone.

const { getOrderWithUser, listOrdersWithUser } = OrdersService.method;
const { createUser } = UsersService.method;

let system: System;
beforeAll(async () => {
  system = await startSystem();
});
afterAll(() => system.close());

/** Each with whom it is made by, and how it must end. */
const calls: readonly (Omit<UnaryCall, "headers"> & {
  readonly role?: "viewer" | "support";
  readonly code: string;
})[] = [
  { method: listOrdersWithUser, request: { pageSize: 3 }, role: "support", code: "ok" },
  { method: listOrdersWithUser, request: { pageSize: 3 }, role: "viewer", code: "ok" },
  { method: listOrdersWithUser, request: { pageSize: 3 }, code: "unauthenticated" },
  { method: listOrdersWithUser, request: { pageSize: -1 }, role: "viewer", code: "invalid_argument" },
  { method: getOrderWithUser, request: { id: "order-0" }, role: "viewer", code: "not_found" },
  { method: createUser, request: { email: "matrix@example.com" }, role: "viewer", code: "permission_denied" },
];

test("every cell gives the same answer, the same code and the same rights", async () => {
  let checked = 0;
  for (const { role, code, ...call } of calls) {
    const headers: Record<string, string> =
      role === undefined ? {} : { authorization: `Bearer ${await system.token(role)}` };
    const isRead = call.method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
    const ways = connectNodeWays.filter((way) => way.cannot?.({ ...call, headers }) !== true);
    expect(ways).toHaveLength(isRead ? 14 : 10);
    let first: Answer | undefined;
    for (const way of ways) {
      const answer = withoutId(await way.call({ url: system.url }, { ...call, headers }));
      first ??= answer;
      expect(answer, way.name).toMatchObject({ code });
      expect(answer, way.name).toEqual(first);
      checked++;
    }
  }
  figure({
    id: "A4",
    test: "one call through 3 protocols x 2 codecs x POST/GET x h1/h2 (14 cells that exist) x 6 outcomes",
    expected: "same result, code, authorization",
    measured: `${checked} of ${checked} the same`,
    reached: true,
  });
});

/** Each call has an id of its own. */
function withoutId(answer: Answer): Answer {
  return answer.code === "ok" ? answer : { ...answer, requestId: undefined };
}
