import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { type AskOptions, ask, readingWays } from "./ask.ts";
import { ways } from "./raw-call.ts";
import { type System, startSystem } from "./system.ts";

// API keys from the command that makes them to the calls that they are sent with.

const { listOrdersWithUser } = OrdersService.method;
const { createUser, listUsers } = UsersService.method;
const folder = mkdtempSync(join(tmpdir(), "portico-keys-"));
const file = join(folder, "keys.json");
const main = fileURLToPath(new URL("../packages/gateway/src/main.ts", import.meta.url));
const access = fileURLToPath(new URL("../packages/gateway/src/app/access.json", import.meta.url));

/** Runs `portico keys` as people do. */
async function portico(...args: string[]): Promise<{ stdout: string; stderr: string }> {
  const env = { PATH: process.env["PATH"], API_KEYS_FILE: file, ACCESS_FILE: access };
  return promisify(execFile)(process.execPath, [main, "keys", ...args], { env, cwd: folder });
}

async function createKey(name: string, roles: string, ...more: string[]) {
  const { stdout } = await portico("create", "--name", name, "--roles", roles, ...more);
  const key = stdout.trim();
  const [, id = "", secret = ""] = /^ptk_([a-z0-9]{12})_([\w-]{43})$/.exec(key) ?? [];
  return { key, id, secret };
}

type Key = Awaited<ReturnType<typeof createKey>>;
const keys: Record<"viewer" | "support" | "limited" | "expired" | "revoked", Key> = {
  viewer: { key: "", id: "", secret: "" },
  support: { key: "", id: "", secret: "" },
  limited: { key: "", id: "", secret: "" },
  expired: { key: "", id: "", secret: "" },
  revoked: { key: "", id: "", secret: "" },
};

let system: System;
beforeAll(async () => {
  keys.viewer = await createKey("Viewer", "viewer");
  // One at a time in truth: the file is locked. All must be there in the end.
  [keys.support, keys.limited, keys.expired, keys.revoked] = await Promise.all([
    createKey("Support", "support,customer", "--tenant", "acme"),
    createKey("Limited", "viewer", "--limit", "3/1h"),
    createKey("Expired", "admin", "--expires", "1d"),
    createKey("Revoked", "viewer"),
  ]);
  // A day has passed for one of them.
  const content: { keys: { id: string; expiresAt?: string }[] } = JSON.parse(readFileSync(file, "utf8"));
  for (const entry of content.keys)
    if (entry.id === keys.expired.id) entry.expiresAt = new Date(Date.now() - 1_000).toISOString();
  writeFileSync(file, JSON.stringify(content));
  system = await startSystem({ env: { API_KEYS_FILE: file } });
});
afterAll(async () => {
  await system.close();
  rmSync(folder, { recursive: true });
});
afterEach(() => {
  system.mocks.users.calls.clear();
  system.mocks.orders.calls.clear();
});

const withKey = (key: string, options: AskOptions = {}): AskOptions => ({
  ...options,
  headers: { "x-api-key": key, ...options.headers },
});
const upstreamCalls = () => system.mocks.users.calls.count() + system.mocks.orders.calls.count();

describe("the file of keys", () => {
  test("holds no secret, and nobody else may read it", () => {
    const text = readFileSync(file, "utf8");
    for (const { id, secret } of Object.values(keys)) {
      expect(text).toContain(id);
      expect(secret).toHaveLength(43);
      expect(text).not.toContain(secret);
    }
    expect(statSync(file).mode & 0o077).toBe(0);
  });

  test("is listed without hashes", async () => {
    const { stdout } = await portico("list");
    expect(stdout).toMatch(new RegExp(`${keys.support.id} +Support +support,customer +acme .* active`));
    expect(stdout).toMatch(new RegExp(`${keys.expired.id} .* expired`));
    for (const { secret } of Object.values(keys)) expect(stdout).not.toContain(secret);
    const hashes: string[] = readFileSync(file, "utf8").match(/[0-9a-f]{64}/g) ?? [];
    expect(hashes).toHaveLength(5);
    for (const hash of hashes) expect(stdout).not.toContain(hash);
  });

  test("takes no role that the access file does not have", async () => {
    await expect(createKey("Odd", "viewer,root")).rejects.toMatchObject({
      code: 2,
      stderr: expect.stringContaining('--roles: "root" is no role of ACCESS_FILE'),
    });
  });
});

describe.each(readingWays)("over %s", (way) => {
  test("the roles of a key decide what it may do", async () => {
    const answer = await ask(
      system.url,
      listOrdersWithUser,
      { pageSize: 2 },
      withKey(keys.viewer.key, { way }),
    );
    expect(answer).toMatchObject({
      code: "ok",
      answers: [{ orders: [{ userEmail: "" }, { userEmail: "" }] }],
    });
    const support = withKey(keys.support.key, { way });
    expect(await ask(system.url, listUsers, { pageSize: 1 }, support)).toMatchObject({
      code: "ok",
      answers: [{ users: [{ email: expect.stringContaining("@") }] }],
    });
    const [seen] = system.mocks.users.calls.all("listUsers");
    expect(seen?.headers).toMatchObject({
      "x-portico-kind": "api_key",
      "x-portico-subject": keys.support.id,
      "x-portico-roles": "support,customer",
    });
    expect(JSON.stringify(seen?.headers)).not.toContain(keys.support.secret);
  });

  test("what they do not allow is refused, and nobody inside is asked", async () => {
    const answer = await ask(system.url, listUsers, {}, withKey(keys.viewer.key, { way }));
    expect(answer).toMatchObject({ code: "permission_denied", details: { reason: "PERMISSION_MISSING" } });
    expect(upstreamCalls()).toBe(0);
  });

  test.each<[string, () => string]>([
    ["the secret of another key", () => `ptk_${keys.viewer.id}_${keys.support.secret}`],
    ["a secret of which one character differs", () => changeLast(keys.viewer.key)],
    ["an id that there is not", () => `ptk_aaaaaaaaaaaa_${keys.viewer.secret}`],
    ["a key that is cut short", () => keys.viewer.key.slice(0, -1)],
    ["no key at all", () => ""],
    ["the id alone", () => keys.viewer.id],
    ["a very long key", () => keys.viewer.key.padEnd(8_000, "x")],
  ])("with %s, the answer is one and the same", async (_, key) => {
    const answer = await ask(system.url, listOrdersWithUser, {}, withKey(key(), { way }));
    expect(answer).toMatchObject({
      code: "unauthenticated",
      message: "The API key is not valid.",
      details: { reason: "CREDENTIALS_INVALID", metadata: {} },
    });
    expect(upstreamCalls()).toBe(0);
  });

  test("a key that has expired says so", async () => {
    const answer = await ask(system.url, listOrdersWithUser, {}, withKey(keys.expired.key, { way }));
    expect(answer).toMatchObject({
      code: "unauthenticated",
      message: "The API key has expired.",
      details: { reason: "CREDENTIALS_EXPIRED" },
    });
    expect(upstreamCalls()).toBe(0);
  });

  test("who has the wrong secret does not learn that a key has expired", async () => {
    const guess = withKey(changeLast(keys.expired.key), { way });
    expect(await ask(system.url, listOrdersWithUser, {}, guess)).toMatchObject({
      message: "The API key is not valid.",
    });
  });

  test("a key and a token at once are refused, although both are valid", async () => {
    const token = await system.token("admin");
    const both = await ask(system.url, listOrdersWithUser, {}, withKey(keys.viewer.key, { way, token }));
    expect(both).toMatchObject({
      code: "unauthenticated",
      message: "Send either a token or an API key, not both.",
      details: { reason: "CREDENTIALS_INVALID" },
    });
    expect(upstreamCalls()).toBe(0);
  });
});

test.each(ways)("over %s, a key may not change what its roles do not allow", async (way) => {
  const request = { email: `${way}@example.com` };
  expect(await ask(system.url, createUser, request, withKey(keys.support.key, { way }))).toMatchObject({
    code: "permission_denied",
  });
  expect(upstreamCalls()).toBe(0);
});

test("a key has its own rate limit, whatever the protocols that it is used with", async () => {
  const call = (way: (typeof readingWays)[number]) =>
    ask(system.url, listOrdersWithUser, { pageSize: 1 }, withKey(keys.limited.key, { way }));
  for (const [index, way] of (["grpc", "GET", "grpc-web"] as const).entries())
    expect((await call(way)).fields).toMatchObject({
      "ratelimit-policy": '"common-3600";q=3;w=3600',
      ratelimit: expect.stringMatching(new RegExp(`^"common-3600";r=${2 - index};t=3\\d{3}$`)),
    });
  system.mocks.orders.calls.clear();
  for (const way of readingWays) {
    const answer = await call(way);
    expect(answer).toMatchObject({
      code: "resource_exhausted",
      details: { reason: "RATE_LIMIT_EXCEEDED", metadata: { limit: "3/1h" } },
    });
    expect(Number(answer.fields["retry-after"])).toBeGreaterThan(3_500);
  }
  expect(upstreamCalls()).toBe(0);
  // Others have what they had: the common limit, which is off here.
  const other = await ask(system.url, listOrdersWithUser, { pageSize: 1 }, withKey(keys.viewer.key));
  expect(other.code).toBe("ok");
  expect(other.fields).not.toHaveProperty("ratelimit");
});

describe("while the gateway runs", () => {
  /** How long a change may take to be noticed. */
  const soon = { timeout: 3_000, interval: 50 };
  const codeWith = async (key: string) =>
    (await ask(system.url, listOrdersWithUser, { pageSize: 1 }, withKey(key))).code;

  test("a key that is revoked is refused within 3 seconds", async () => {
    expect(await codeWith(keys.revoked.key)).toBe("ok");
    expect((await portico("revoke", keys.revoked.id)).stdout).toBe(
      `The API key ${keys.revoked.id} is revoked.\n`,
    );
    await vi.waitFor(async () => expect(await codeWith(keys.revoked.key)).toBe("unauthenticated"), soon);
    for (const way of readingWays)
      expect(await ask(system.url, listOrdersWithUser, {}, withKey(keys.revoked.key, { way }))).toMatchObject(
        {
          message: "The API key is not valid.",
        },
      );
    expect(await codeWith(keys.viewer.key)).toBe("ok");
    expect((await portico("list")).stdout).toMatch(new RegExp(`${keys.revoked.id} .* revoked`));
  });

  test("a key that is made works within 3 seconds, and the others keep what was counted of their limits", async () => {
    const { key } = await createKey("Late", "viewer");
    await vi.waitFor(async () => expect(await codeWith(key)).toBe("ok"), soon);
    expect(await codeWith(keys.limited.key)).toBe("resource_exhausted");
  });
});

test("the log names keys by their ids, and has no secret", async () => {
  const requestId = "api-keys-log";
  const wrong = withKey(`ptk_${keys.viewer.id}_${keys.support.secret}`, {
    headers: { "x-request-id": requestId },
  });
  await ask(system.url, listOrdersWithUser, {}, wrong);
  await system.logOf(requestId);
  const audited = system.log().filter((line) => line["msg"] === "audit" && line["requestId"] === requestId);
  expect(audited).toMatchObject([
    {
      audit: "refused",
      reason: "CREDENTIALS_INVALID",
      why: `the secret is not that of API key ${keys.viewer.id}`,
    },
  ]);
  const lines = system.log().map((line) => JSON.stringify(line));
  expect(lines.some((line) => line.includes(`"caller":"${keys.viewer.id}"`))).toBe(true);
  for (const { secret } of Object.values(keys))
    expect(lines.filter((line) => line.includes(secret) || line.includes(secret.slice(0, 20)))).toEqual([]);
});

test("a gateway without a file of keys takes none", async () => {
  await using other = await startSystem();
  expect(await ask(other.url, listOrdersWithUser, {}, withKey(keys.viewer.key))).toMatchObject({
    code: "unauthenticated",
    message: "This API takes no API keys.",
    details: { reason: "CREDENTIALS_INVALID" },
  });
});

/** Another secret of the right form. Of the last character of 43, only four bits count: all of it must. */
function changeLast(key: string): string {
  return key.slice(0, -1) + (key.endsWith("A") ? "B" : "A");
}
