import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, test } from "vitest";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { answer, type Behaviour, startFaultyUpstream } from "../faulty-upstream.ts";
import { garbage, healthy } from "../garbage.ts";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { startLoad, summarize } from "../harness/load.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { rawCall, textOf } from "../raw-call.ts";
import { codeOf, inWords, orderCall, steady, unhurried, userCall } from "./calls.ts";

/** What nobody outside may read: words of an upstream, where it is, what the gateway is made of. */
const hidden = ["db row", "10.0.0.7", "127.0.0.1", "upstream", "ECONN", "HTTP/2", "redirected-to"];

test("B5 an upstream that answers garbage", async () => {
  await using others = await startUpstreams({ users: 0, orders: 20, items: 0 });
  await using upstream = await startFaultyUpstream();
  await using elsewhere = await startElsewhere();
  await using gateway = await startGateway({ ...others.urls, users: upstream.url }, unhurried);
  const token = await gateway.token();
  const bystander = startLoad({ url: gateway.url, requests: [orderCall("grpc", token)], ...steady });
  const redirects = Object.fromEntries(
    [301, 302, 303, 307, 308].map((status) => [
      `HTTP ${status} to a place that answers`,
      redirect(status, `${elsewhere.url}/redirected-to`),
    ]),
  );
  // What says nothing, at once or after a while, is B4's.
  const kinds = Object.entries({ ...garbage(), ...redirects }).filter(
    ([name, { code }]) => code !== "deadline_exceeded" && !name.startsWith("silence"),
  );
  const codes = new Map<string, number>();
  const leaks: string[] = [];
  const wrong: string[] = [];
  for (const [name, behaviour] of kinds) {
    upstream.behave(behaviour);
    for (const way of ["connect+json", "grpc"] as const) {
      const got = await rawCall(
        gateway.url,
        UsersService.method.getUser,
        { id: "user-1" },
        // More than it takes to give up connecting.
        { way, token, timeoutMs: 3_000 },
      );
      codes.set(got.code, (codes.get(got.code) ?? 0) + 1);
      if (got.code !== "unavailable" && got.code !== "internal") wrong.push(`${name}: ${got.code}`);
      const text = textOf(got);
      leaks.push(...hidden.filter((word) => text.includes(word)).map((word) => `${name}: ${word}`));
    }
    upstream.behave({ stream: (stream) => answer(stream, [healthy]) });
    await expect
      .poll(() => codeOf(gateway.url, userCall("grpc", token)), { timeout: 30_000, interval: 20 })
      .toBe("ok");
  }
  const meanwhile = summarize(await bystander.stop());
  const seen = [...codes].map(([code, count]) => `${count} ${code}`).join(", ");
  figure({
    id: "B5",
    test: `${kinds.length} kinds of garbage from an upstream, over JSON and gRPC`,
    expected: "unavailable or internal, generic text; redirects never followed",
    measured: `${seen}; ${leaks.length} leaks; ${elsewhere.visits()} redirects followed; another upstream: ${inWords(meanwhile)}`,
    reached: wrong.length === 0 && leaks.length === 0 && elsewhere.visits() === 0 && meanwhile.failed === 0,
  });
  expect(wrong).toEqual([]);
  expect(leaks).toEqual([]);
  expect(elsewhere.visits()).toBe(0);
  expect(meanwhile.codes).toEqual({ ok: meanwhile.count });
});

function redirect(status: number, location: string): Behaviour & { readonly code: string } {
  return {
    code: "internal",
    stream: (stream) => answer(stream, [], {}, { ":status": status, location }),
  };
}

/** Where redirects lead to. */
async function startElsewhere() {
  let visits = 0;
  const server = createServer((socket) => {
    visits++;
    socket.on("error", () => {}).destroy();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    // A TCP server's address is never the text that a Unix socket's is.
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    visits: () => visits,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, "close");
    },
  };
}
