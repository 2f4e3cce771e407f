import { randomInt } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { InventoryService } from "../../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { OrdersService } from "../../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { figure } from "../harness/figures.ts";
import { type GatewayProcess, startGateway } from "../harness/gateway-process.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams, type UpstreamProcess } from "../harness/upstream-process.ts";
import { keep, readCorpus } from "./fuzz/corpus.ts";
import { sendFrames } from "./fuzz/frames-wire.ts";
import { createInputs, type Input, type Kind, kinds } from "./fuzz/inputs.ts";
import { judge } from "./fuzz/judge.ts";
import { createRandom } from "./fuzz/random.ts";
import { createWire } from "./fuzz/wire.ts";

/** The same number makes the same inputs. */
const seed = Number(process.env["FUZZ_SEED"] || randomInt(2 ** 31));

/** Of 100: frames and chunks need a connection each, and a stream takes its time. */
const shares: Readonly<Record<Kind, number>> = {
  json: 23,
  proto: 23,
  envelope: 13,
  stream: 2,
  chunked: 4,
  headers: 12,
  path: 7,
  get: 9,
  frames: 7,
};
const total = scaled(100_000, 1_000);
const wires = 16;

let upstreams: UpstreamProcess;
let gateway: GatewayProcess;
let token: string;

beforeAll(async () => {
  upstreams = await startUpstreams();
  // Half a request is waited for: not for long, or most of the time would be spent on that.
  gateway = await startGateway(upstreams.urls, { HEADERS_TIMEOUT_MS: "1000", REQUEST_TIMEOUT_MS: "1500" });
  token = await gateway.token("admin");
});
afterAll(async () => {
  await gateway[Symbol.asyncDispose]();
  await upstreams[Symbol.asyncDispose]();
});

test(`${total} inputs, seed ${seed}: nothing crashes, hangs, fails inside or passes for what it is not`, async () => {
  process.stdout.write(`FUZZ_SEED=${seed}\n`);
  const make = createInputs(unaryMethods(), OrdersService.method.watchOrdersWithUser, token);
  const corpus = readCorpus(token);
  const problems: string[] = [];
  const found = (input: Input, problem: string) => {
    if (problems.length < 20) problems.push(`${keep(input, token)}: ${problem.slice(0, 300)}`);
  };
  const replies = new Map<string, number>();
  const count = (what: string) => void replies.set(what, (replies.get(what) ?? 0) + 1);
  await gateway.probe();
  let sent = 0;
  for (const kind of kinds) {
    const random = createRandom(seed + kinds.indexOf(kind));
    const kept = corpus.filter((input) => input.kind === kind);
    let left = Math.round((total * shares[kind]) / 100);
    const next = (): Input | undefined => kept.pop() ?? (left-- > 0 ? make(kind, random) : undefined);
    await Promise.all(
      Array.from({ length: wires }, async () => {
        using wire = createWire(gateway.url, 8_000);
        for (let input = next(); input !== undefined; input = next()) {
          sent++;
          if (kind === "frames") {
            await sendFrames(gateway.url, input.bytes);
            continue;
          }
          const reply = await wire.send(input.bytes);
          count(reply.kind === "answer" ? String(reply.status) : reply.kind);
          const problem = judge(input, reply);
          if (problem !== undefined) found(input, problem);
        }
      }),
    );
    // Whatever came before: a proper call works.
    expect(await healthy(), `after ${kind}, seed ${seed}`).toBe(200);
  }
  const { loopLagMs } = await gateway.probe();
  process.stdout.write(`replies: ${[...replies].map(([what, times]) => `${what} x ${times}`).join(", ")}\n`);
  // Most inputs must get past the first check, or they find nothing.
  expect(replies.get("200")).toBeGreaterThan(sent / 50);
  figure({
    id: "D1",
    test: `fuzz: ${sent} inputs (${corpus.length} of them kept), seed ${seed}`,
    expected: "no crash, hang, or invalid 2xx; stall <= 100 ms",
    measured: `${problems.length} problems, ${gateway.crashes().length} crashes; longest stall ${Math.round(loopLagMs.max)} ms`,
    reached: problems.length === 0 && gateway.crashes().length === 0 && loopLagMs.max <= 100,
  });
  expect(problems, `seed ${seed}; the inputs are kept in tests/attack/corpus`).toEqual([]);
  expect(gateway.crashes()).toEqual([]);
});

function unaryMethods() {
  return [
    UsersService.method.createUser,
    UsersService.method.getUser,
    UsersService.method.listUsers,
    OrdersService.method.listOrdersWithUser,
    OrdersService.method.getOrderWithUser,
    OrdersService.method.createOrder,
    InventoryService.method.listItemsGroupedByUsers,
  ] as const;
}

async function healthy(): Promise<number> {
  const answer = await fetch(`${gateway.url}/smpl.api.users.v1.UsersService/ListUsers`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${token}` },
    body: '{"pageSize": 1}',
  });
  await answer.arrayBuffer();
  return answer.status;
}
