import { connect } from "node:net";
import { expect, test } from "vitest";
import { InventoryService } from "../../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import { unhurried } from "../faults/calls.ts";
import { figure } from "../harness/figures.ts";
import { data, flags, headers, openFrames, request, reset } from "../harness/frames.ts";
import { type GatewayProcess, startGateway } from "../harness/gateway-process.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { rawCall } from "../raw-call.ts";

const { listItemsGroupedByUsers } = InventoryService.method;
const path = `/${InventoryService.typeName}/ListItemsGroupedByUsers`;
const groups = 5;
const othersPerGroup = 8;

/** Who comes first: begins a call, and goes away once others wait for the same answer. */
interface First {
  readonly name: string;
  /** Whether it is this one that the others wait for; one who is refused runs nothing. */
  readonly runs: boolean;
  readonly begin: (gateway: GatewayProcess, token: string, pageSize: number) => Promise<Leave>;
}

/** Goes away. Resolves to what is wrong about how that went. */
type Leave = () => Promise<string | undefined>;

const firsts: readonly First[] = [
  {
    name: "hangs up",
    runs: true,
    begin: async ({ url }, token, pageSize) => {
      const { hostname, port } = new URL(url);
      const json = JSON.stringify({ pageSize });
      const socket = connect(Number(port), hostname).on("error", () => {});
      socket.write(
        `POST ${path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer ${token}\r\ncontent-type: application/json\r\n` +
          `content-length: ${json.length}\r\n\r\n${json}`,
      );
      return async () => void socket.destroy();
    },
  },
  {
    name: "resets its stream",
    runs: true,
    begin: async ({ url }, token, pageSize) => {
      const client = await openFrames(url);
      const fields = request(path, [
        ["content-type", "application/json"],
        ["authorization", `Bearer ${token}`],
      ]);
      const json = Buffer.from(JSON.stringify({ pageSize }));
      await client.send(headers(1, fields), data(1, json, flags.endStream));
      return async () => {
        await client.send(reset(1));
        await client[Symbol.asyncDispose]();
        return undefined;
      };
    },
  },
  {
    name: "has little time",
    runs: true,
    begin: async ({ url }, token, pageSize) => {
      const answer = rawCall(url, listItemsGroupedByUsers, { pageSize }, { token, timeoutMs: 600 });
      return async () => wrong((await answer).code, "deadline_exceeded");
    },
  },
  {
    name: "may not",
    runs: false,
    begin: async (gateway, _, pageSize) => {
      const token = await gateway.token("customer", "shared");
      const answer = rawCall(gateway.url, listItemsGroupedByUsers, { pageSize }, { token });
      return async () => wrong((await answer).code, "permission_denied");
    },
  },
  {
    name: "is a stranger",
    runs: false,
    begin: async ({ url }, token, pageSize) => {
      const forged = `${token.slice(0, -9)}AAAAAAAAA`;
      const answer = rawCall(url, listItemsGroupedByUsers, { pageSize }, { token: forged });
      return async () => wrong((await answer).code, "unauthenticated");
    },
  },
];

test("D8 callers do not suffer from the one that they share an answer with", async () => {
  await using upstreams = await startUpstreams({ users: 200, orders: 0, items: 200 });
  await using gateway = await startGateway(upstreams.urls, {
    ...unhurried,
    ANSWER_CACHE_BYTES: String(2 ** 24),
    DEFAULT_TIMEOUT_MS: "10000",
  });
  const token = await gateway.token("support", "shared");
  const get = (pageSize: number) => rawCall(gateway.url, listItemsGroupedByUsers, { pageSize }, { token });
  const coalesced = async (): Promise<number> =>
    Number(Object((await gateway.readyz())["answers"]).coalesced);
  const running = async () => (await upstreams.calls("users", "listUsers")).active;
  await get(1);
  await upstreams.fault("users", { method: "listUsers", latencyMs: 1_200 });
  const problems: string[] = [];
  let pageSize = 2;
  let others = 0;
  for (let round = 0; round < scaled(3); round++)
    for (const { name, runs, begin } of firsts) {
      const sizes = Array.from({ length: groups }, () => pageSize++);
      const leave = await Promise.all(sizes.map((size) => begin(gateway, token, size)));
      // Those that come first are first.
      if (runs) await expect.poll(running, waiting).toBe(groups);
      const before = await coalesced();
      const answers = sizes.flatMap((size) => Array.from({ length: othersPerGroup }, () => get(size)));
      const shared = before + groups * (othersPerGroup - (runs ? 0 : 1));
      await expect.poll(coalesced, waiting).toBeGreaterThanOrEqual(shared);
      const ends = await Promise.all(leave.map((it) => it()));
      problems.push(...ends.flatMap((problem) => (problem === undefined ? [] : [`${name}: ${problem}`])));
      for (const { code, status } of await Promise.all(answers)) {
        others++;
        if (code !== "ok") problems.push(`another, where the first ${name}: ${code} ${status}`);
      }
    }
  figure({
    id: "D8",
    test: `coalesced calls whose first caller ${firsts.map(({ name }) => name).join(", ")}`,
    expected: "others unaffected",
    measured: `${problems.length} of ${others} others affected; ${await coalesced()} calls shared a run`,
    reached: problems.length === 0,
  });
  expect(problems).toEqual([]);
  expect(gateway.crashes()).toEqual([]);
  await expect.poll(async () => (await gateway.readyz()).inFlight, waiting).toBe(0);
});

const waiting = { timeout: 30_000, interval: 20 };

function wrong(code: string, expected: string): string | undefined {
  return code === expected ? undefined : `ended with ${code} in place of ${expected}`;
}
