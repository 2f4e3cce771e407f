import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { unhurried } from "../faults/calls.ts";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { openDetails } from "../open-details.ts";
import { createWire, type Reply, type Wire } from "./fuzz/wire.ts";
import { startMirror } from "./mirror.ts";

const callerCount = 100;
/** How many work at a time, each on two connections: what one asks for a caller is asked twice at once, so that it meets. */
const workers = 20;
const total = scaled(100_000, 1_000);
/** When to stop on a machine that is slower: all of it is to take minutes. */
const enoughMs = scaled(60_000, 5_000);
const roles = ["admin", "support", "viewer"] as const;

/** A request, and whether its answer is made for its caller alone. */
interface Ask {
  readonly bytes: Buffer;
  readonly own: string;
  readonly isPersonal: boolean;
}

test("D7 nobody gets what is another caller's", async () => {
  await using mirror = await startMirror();
  await using upstreams = await startUpstreams({ users: 20, orders: 50, items: 0 });
  await using gateway = await startGateway(
    { ...upstreams.urls, users: mirror.url, inventory: mirror.url },
    {
      ...unhurried,
      ANSWER_CACHE_BYTES: String(2 ** 24),
      ENTITY_CACHE_BYTES: String(2 ** 24),
      DEFAULT_TIMEOUT_MS: "30000",
      MAX_TIMEOUT_MS: "30000",
    },
  );
  const run = randomBytes(6).toString("hex");
  // Each subject in two roles: what they may read differs, and so must what they get.
  const callers = await Promise.all(
    Array.from({ length: callerCount }, async (_, index) => {
      const subject = `canary-${index >> 1}-${run}`;
      const role = roles[index % roles.length] ?? "admin";
      return { own: `${subject}.${role}`, role, token: await gateway.token(role, subject) };
    }),
  );
  const foreign: string[] = [];
  const statuses = new Map<number, number>();
  let begun = 0;
  let done = 0;
  const startedAt = performance.now();
  const goesOn = () => begun < total && performance.now() - startedAt < enoughMs;
  const asks = callers.map(asksOf);
  const send = async (wire: Wire, ask: Ask) => {
    begun++;
    const reply = await wire.send(ask.bytes);
    done++;
    if (reply.kind === "answer") statuses.set(reply.status, (statuses.get(reply.status) ?? 0) + 1);
    const problem = judge(ask, reply);
    if (problem !== undefined) foreign.push(problem);
  };
  let turn = 0;
  const work = async () => {
    using one = createWire(gateway.url, 60_000);
    using other = createWire(gateway.url, 60_000);
    while (goesOn()) {
      // Callers take turns, on connections that all of them use.
      const own = asks[turn++ % callerCount] ?? [];
      const ask = own[Math.floor(turn / callerCount) % own.length];
      if (ask !== undefined) await Promise.all([send(one, ask), send(other, ask)]);
    }
  };
  await Promise.all(Array.from({ length: workers }, work));
  const { answers, entities } = await gateway.readyz();
  figure({
    id: "D7",
    test: `${callerCount} callers, equal requests, caches and coalescing on, ${done} of ${total} calls carrying canaries`,
    expected: "0 foreign canaries",
    measured: `${foreign.length} foreign; statuses ${JSON.stringify(Object.fromEntries(statuses))}; answers ${JSON.stringify(answers)}; entities ${JSON.stringify(entities)}`,
    reached: foreign.length === 0 && done >= total,
  });
  expect(foreign.slice(0, 10)).toEqual([]);
  // Something was kept, else this shows nothing.
  expect(mirror.calls()).toBeGreaterThan(callerCount);
  expect(answers).toMatchObject({ hits: expect.any(Number), coalesced: expect.any(Number) });
  expect(Object(answers).hits).toBeGreaterThan(callerCount);
  expect(Object(answers).coalesced).toBeGreaterThan(0);
  expect(gateway.crashes()).toEqual([]);
});

/** The same requests for everyone. */
function asksOf({ own, role, token }: { own: string; role: string; token: string }): readonly Ask[] {
  const head = (line: string) =>
    `${line} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${token}\r\nx-request-id: ${own}\r\n`;
  const post = (method: string, json: string) =>
    Buffer.from(
      `${head(`POST /smpl.api.${method}`)}content-type: application/json\r\ncontent-length: ${json.length}\r\n\r\n${json}`,
    );
  const items = "inventory.v1.InventoryService/ListItemsGroupedByUsers";
  const message = encodeURIComponent('{"pageSize":2}');
  const get = Buffer.from(
    `${head(`GET /smpl.api.${items}?connect=v1&encoding=json&message=${message}`)}\r\n`,
  );
  return [
    { bytes: post(items, '{"pageSize":2}'), own, isPersonal: true },
    { bytes: get, own, isPersonal: true },
    { bytes: post("orders.v1.OrdersService/ListOrdersWithUser", '{"pageSize":2}'), own, isPersonal: false },
    { bytes: post(items, '{"pageSize":2}'), own, isPersonal: true },
    { bytes: post("users.v1.UsersService/GetUser", '{"id":"user-1"}'), own, isPersonal: role !== "viewer" },
  ];
}

/** @returns what is wrong: an answer, or its request id, that is not this caller's */
function judge({ own, isPersonal }: Ask, reply: Reply): string | undefined {
  if (reply.kind !== "answer") return `${own}: ${reply.kind}`;
  if (reply.headers["x-request-id"] !== own)
    return `${own}: the request id of ${reply.headers["x-request-id"]}`;
  const text = openDetails(reply.body.toString("utf8"));
  const canaries = text.match(/canary-[\w-]+\.\w+/g) ?? [];
  const others = canaries.filter((canary) => canary !== own);
  if (others.length > 0) return `${own}: got ${others[0]}`;
  if (reply.status !== 200)
    return reply.status === 403 && !isPersonal ? undefined : `${own}: ${reply.status} ${text}`;
  // What is shared by all is nobody's.
  if (isPersonal === (canaries.length === 0))
    return `${own}: ${isPersonal ? "nothing of its own" : "its own"}: ${text}`;
  return undefined;
}
