import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, onTestFinished, test, vi } from "vitest";
import { OrdersService } from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { ask, type ReadingWay, readingWays } from "./ask.ts";
import {
  audience,
  type Claims,
  rs256,
  standardClaims,
  startIssuer,
  type TestIssuer,
  writeToken,
} from "./issuer.ts";
import { type System, startSystem } from "./system.ts";

// Tokens of several issuers, and issuers in trouble, over the wire.

const { listUsers } = UsersService.method;
const { listOrdersWithUser } = OrdersService.method;
const folder = mkdtempSync(join(tmpdir(), "portico-issuers-"));
afterAll(() => rmSync(folder, { recursive: true }));
afterEach(() => {
  vi.restoreAllMocks();
});

const callUsers = (at: System, token: string, way: ReadingWay = "connect+json") =>
  ask(at.url, listUsers, { pageSize: 1 }, { way, token });
const upstreamCalls = ({ mocks }: System) => mocks.users.calls.count() + mocks.orders.calls.count();
const refused = { code: "unauthenticated", details: { reason: "CREDENTIALS_INVALID" } };
const unverifiable = { code: "unavailable", details: { reason: "CREDENTIALS_UNVERIFIABLE" } };

describe("two issuers", () => {
  /** Has roles in a claim within a claim; known by its discovery document. */
  let keycloak: TestIssuer;
  /** Has roles and a tenant in claims of its own, another audience, and its keys at an address that is given. */
  let partner: TestIssuer;
  let system: System;
  beforeAll(async () => {
    [keycloak, partner] = await Promise.all([startIssuer(), startIssuer()]);
    const issuers = [
      { issuer: keycloak.url, audience, claims: { roles: "realm_access.roles" } },
      {
        issuer: partner.url,
        audience: ["partner-api", "second-api"],
        jwksUrl: `${partner.url}/keys`,
        claims: { subject: "email", roles: "https://partner.example/roles", tenant: "org" },
      },
    ];
    system = await startSystem({
      env: { PORTICO_MODE: "production", AUTH_FILE: write("issuers.json", { issuers }) },
    });
  });
  afterAll(async () => {
    await system.close();
    await Promise.all([keycloak.close(), partner.close()]);
  });
  afterEach(() => system.mocks.users.calls.clear());

  const support = { realm_access: { roles: ["support"] } };
  const partnerClaims = {
    aud: "partner-api",
    email: "Ada of Partner",
    org: "partner-inc",
    "https://partner.example/roles": "support other",
  };

  test.each(readingWays)("over %s, the claims of each are read as it writes them", async (way) => {
    expect(await callUsers(system, keycloak.token(support), way)).toMatchObject({ code: "ok" });
    expect(await callUsers(system, partner.token(partnerClaims), way)).toMatchObject({ code: "ok" });
    const [first, second] = system.mocks.users.calls.all("listUsers").map(({ headers }) => headers);
    expect(first).toMatchObject({ "x-portico-subject": "ada", "x-portico-roles": "support" });
    expect(second).toMatchObject({
      "x-portico-subject": "Ada%20of%20Partner",
      "x-portico-roles": "support,other",
    });
  });

  test.each<[string, () => string]>([
    [
      "roles where the other issuer has them",
      () => keycloak.token({ "https://partner.example/roles": "support" }),
    ],
    ["roles at the top", () => keycloak.token({ roles: ["admin"] })],
    ["a claim with a dot in its name, which is no path", () => keycloak.token({ realm_access: ["roles"] })],
    [
      "a path, which is no claim of this name",
      () => partner.token({ ...partnerClaims, "https://partner.example/roles": { support: true } }),
    ],
  ])("are not read as another writes them: %s", async (_, token) => {
    const answer = await callUsers(system, token());
    expect(answer).toMatchObject({ code: "permission_denied", details: { reason: "PERMISSION_MISSING" } });
    expect(upstreamCalls(system)).toBe(0);
  });

  test("the tenant of a caller is that of its own issuer alone, and the audit says which", async () => {
    const whoOf = async (token: string) => {
      const { requestId } = await ask(system.url, UsersService.method.createUser, {}, { token });
      await system.logOf(requestId);
      const line = system.log().find((line) => line["msg"] === "audit" && line["requestId"] === requestId);
      return line?.["who"];
    };
    expect(await whoOf(partner.token(partnerClaims))).toEqual({
      kind: "token",
      subject: "Ada of Partner",
      issuer: partner.url,
      tenant: "partner-inc",
    });
    expect(await whoOf(keycloak.token({ ...support, org: "partner-inc", email: "x" }))).toEqual({
      kind: "token",
      subject: "ada",
      issuer: keycloak.url,
    });
  });

  const signedBy = (key: TestIssuer, issuer: TestIssuer, claims: Claims, kid = key.kid) =>
    writeToken({ alg: "RS256", kid }, { ...standardClaims(issuer.url), ...claims }, rs256(key.privateKey));
  const both = { ...support, ...partnerClaims };

  test.each<[string, () => string]>([
    ["the first, signed by the second", () => signedBy(partner, keycloak, { ...both, aud: audience })],
    ["the second, signed by the first", () => signedBy(keycloak, partner, both)],
    [
      "the first, signed by the second with the kid of the first",
      () => signedBy(partner, keycloak, { ...both, aud: audience }, keycloak.kid),
    ],
    [
      "the second, signed by the first with the kid of the second",
      () => signedBy(keycloak, partner, both, partner.kid),
    ],
    ["the first, for the audience of the second", () => keycloak.token({ ...both, aud: "partner-api" })],
    ["the second, for the audience of the first", () => partner.token({ ...both, aud: audience })],
    [
      "the first, with a slash at the end of its name",
      () => keycloak.token({ ...both, aud: audience, iss: `${keycloak.url}/` }),
    ],
    ["both", () => keycloak.token({ ...both, aud: audience, iss: [keycloak.url, partner.url] })],
    ["nobody", () => keycloak.token({ ...both, aud: audience, iss: undefined })],
  ])("a token never passes that says it is from %s", async (_, token) => {
    for (const way of readingWays) expect(await callUsers(system, token(), way)).toMatchObject(refused);
    expect(upstreamCalls(system)).toBe(0);
  });

  test("a token for one of several audiences passes", async () => {
    expect(
      await callUsers(system, partner.token({ ...both, aud: ["elsewhere", "second-api"] })),
    ).toMatchObject({ code: "ok" });
  });
});

describe("clocks that differ (B9)", () => {
  let issuer: TestIssuer;
  let system: System;
  beforeAll(async () => {
    issuer = await startIssuer();
    system = await startSystem({
      env: { PORTICO_MODE: "production", AUTH_ISSUER: issuer.url, AUTH_AUDIENCE: audience },
    });
  });
  afterAll(async () => {
    await system.close();
    await issuer.close();
  });

  const expired = { code: "unauthenticated", details: { reason: "CREDENTIALS_EXPIRED" } };
  const [near, far] = [30, 300];
  test.each<[string, object, (now: number) => Claims]>([
    ["exp is 30 s ago", { code: "ok" }, (now) => ({ exp: now - near })],
    ["exp is in 30 s", { code: "ok" }, (now) => ({ exp: now + near })],
    ["nbf is in 30 s", { code: "ok" }, (now) => ({ nbf: now + near })],
    ["nbf is 5 min ago", { code: "ok" }, (now) => ({ nbf: now - far })],
    ["iat is in 30 s", { code: "ok" }, (now) => ({ iat: now + near })],
    ["iat is 5 min ago", { code: "ok" }, (now) => ({ iat: now - far })],
    ["exp is 5 min ago", expired, (now) => ({ exp: now - far })],
    ["nbf is in 5 min", refused, (now) => ({ nbf: now + far })],
    ["iat is in 5 min", refused, (now) => ({ iat: now + far })],
  ])("%s", async (_, outcome, claims) => {
    for (const way of readingWays) {
      const token = issuer.token({ roles: ["support"], jti: way, ...claims(Math.floor(Date.now() / 1_000)) });
      expect(await callUsers(system, token, way)).toMatchObject(outcome);
    }
  });
});

describe("an issuer in trouble (B8)", () => {
  test("2,000 tokens with random kids make it fetch twice at the most, and delay nobody", async () => {
    const { issuer, keys, system } = await startWithKeys();
    const known = () => callUsers(system, issuer.token({ roles: ["support"], jti: randomUUID() }));
    expect(await known()).toMatchObject({ code: "ok" });
    const answers = new Map<string, number>();
    let left = 2_000;
    const flood = async () => {
      while (left-- > 0) {
        const { code } = await callUsers(system, issuer.token({ roles: ["admin"] }, { kid: randomUUID() }));
        answers.set(code, (answers.get(code) ?? 0) + 1);
      }
    };
    const floods = Promise.all(Array.from({ length: 16 }, flood));
    while (left > 0) expect(await known()).toMatchObject({ code: "ok" });
    await floods;
    expect(Object.fromEntries(answers)).toEqual({ unauthenticated: 2_000 });
    expect(keys.fetches()).toBeGreaterThan(0);
    expect(keys.fetches()).toBeLessThanOrEqual(2);
  }, 60_000);

  test("random kids fetch once more every 30 seconds, however many there are", async () => {
    const { issuer, keys, system } = await startWithKeys();
    await callUsers(system, issuer.token({ roles: ["support"] }));
    const before = keys.fetches();
    const clock = createClock();
    for (let halfMinute = 1; halfMinute <= 4; halfMinute++) {
      clock.pass(30_000);
      const tokens = Array.from({ length: 20 }, () => issuer.token({}, { kid: randomUUID() }));
      const answers = await Promise.all(tokens.map((token) => callUsers(system, token)));
      for (const answer of answers) expect(answer).toMatchObject(refused);
      expect(keys.fetches() - before).toBe(halfMinute);
    }
  });

  test.each<[string, (response: ServerResponse) => void]>([
    ["down", (response) => response.destroy()],
    ["failing", (response) => response.writeHead(503).end("later")],
    ["answering with a page", (response) => response.end("<html>sign in</html>")],
    ["answering with other JSON", (response) => response.end('{"keys":{}}')],
    ["answering without keys", (response) => response.end('{"keys":[]}')],
    ["redirecting", (response) => response.writeHead(302, { location: "http://127.0.0.1:1/keys" }).end()],
  ])("known keys go on working for an hour while it is %s, and no longer", async (_, behave) => {
    const { issuer, keys, system } = await startWithKeys();
    const fresh = () =>
      issuer.token({ roles: ["support"], jti: randomUUID(), exp: Math.floor(Date.now() / 1_000) + 9_000 });
    const old = fresh();
    expect(await callUsers(system, old)).toMatchObject({ code: "ok" });
    keys.behave(behave);
    const clock = createClock();
    const works = async () => {
      for (const token of [old, fresh()])
        expect(await callUsers(system, token)).toMatchObject({ code: "ok" });
    };
    await works();
    for (const minutes of [11, 20, 28]) {
      clock.pass(minutes * 60_000);
      await works();
    }
    // A key that is not known may be a new one: who has it when it was asked for is told to try again.
    clock.pass(30_000);
    expect(await callUsers(system, issuer.token({}, { kid: "new" }))).toMatchObject(unverifiable);
    expect(await callUsers(system, issuer.token({}, { kid: "new" }))).toMatchObject(refused);
    const fetches = keys.fetches();
    expect(fetches).toBeGreaterThan(1);
    clock.pass(2 * 60_000);
    for (const way of readingWays)
      for (const token of [old, fresh()])
        expect(await callUsers(system, token, way)).toMatchObject(unverifiable);
    const before = upstreamCalls(system);
    await callUsers(system, fresh());
    expect(upstreamCalls(system)).toBe(before);
    keys.behave(undefined);
    clock.pass(30_000);
    await works();
    const told = system
      .log()
      .filter((line) => String(line["msg"]).startsWith("the keys of the issuer cannot be read"));
    expect(told.length).toBeGreaterThan(0);
    expect(told.length).toBeLessThanOrEqual(keys.fetches());
  });

  test("a rotated key works within 30 seconds, and one that was taken away no longer", async () => {
    const { issuer, keys, system } = await startWithKeys();
    const next = await startIssuer();
    onTestFinished(() => next.close());
    const byNext = () =>
      writeToken(
        { alg: "RS256", kid: next.kid },
        { ...standardClaims(issuer.url), roles: ["support"], jti: randomUUID() },
        rs256(next.privateKey),
      );
    const old = issuer.token({ roles: ["support"] });
    const clock = createClock();
    expect(await callUsers(system, old)).toMatchObject({ code: "ok" });
    keys.publish(issuer, next);
    expect(await callUsers(system, byNext())).toMatchObject(refused);
    clock.pass(30_000);
    for (const way of readingWays)
      expect(await callUsers(system, byNext(), way)).toMatchObject({ code: "ok" });
    expect(await callUsers(system, old)).toMatchObject({ code: "ok" });

    keys.publish(next);
    clock.pass(10 * 60_000);
    expect(await callUsers(system, byNext())).toMatchObject({ code: "ok" });
    await vi.waitFor(async () => expect(await callUsers(system, old)).toMatchObject(refused), 3_000);
    expect(await callUsers(system, byNext())).toMatchObject({ code: "ok" });
  });

  test("while it does not answer, only who has an unknown key waits for it", async () => {
    const { issuer, keys, system } = await startWithKeys();
    const known = () => callUsers(system, issuer.token({ roles: ["support"], jti: randomUUID() }));
    expect(await known()).toMatchObject({ code: "ok" });
    const held: ServerResponse[] = [];
    keys.behave((response) => void held.push(response));
    createClock().pass(11 * 60_000);
    const ended: string[] = [];
    const stranger = callUsers(system, issuer.token({}, { kid: "unknown" })).then((answer) => {
      ended.push("unknown");
      return answer;
    });
    await vi.waitFor(() => expect(held.length).toBeGreaterThan(0), 3_000);
    for (let i = 0; i < 20; i++) {
      expect(await known()).toMatchObject({ code: "ok" });
      ended.push("known");
    }
    expect(ended).toEqual(Array(20).fill("known"));
    for (const response of held) keys.answer(response);
    expect(await stranger).toMatchObject(refused);
    expect(keys.fetches()).toBe(2);
  });

  test("a gateway starts while its issuer is down, says so to callers, and is well when it is back", async () => {
    const { issuer, keys, system } = await startWithKeys((response) => response.destroy());
    const token = issuer.token({ roles: ["support"] });
    for (const way of readingWays) {
      const answer = await callUsers(system, token, way);
      expect(answer).toMatchObject(unverifiable);
      expect(answer.message).toBe("Credentials cannot be verified at the moment. Try again shortly.");
    }
    // Who needs no issuer is not kept waiting.
    expect(await ask(system.url, listOrdersWithUser, {})).toMatchObject({
      details: { reason: "CREDENTIALS_MISSING" },
    });
    expect(upstreamCalls(system)).toBe(0);
    keys.behave(undefined);
    createClock().pass(30_000);
    expect(await callUsers(system, token)).toMatchObject({ code: "ok" });
  });
});

/** A server with the key set of an issuer, which can misbehave. */
async function startKeyServer(behaviour?: (response: ServerResponse) => void) {
  let behave = behaviour;
  let published: readonly TestIssuer[] = [];
  let fetches = 0;
  const answer = (response: ServerResponse) => {
    const keys = published.map(({ publicKey, kid }) => ({
      ...publicKey.export({ format: "jwk" }),
      kid,
      alg: "RS256",
    }));
    response.end(JSON.stringify({ keys }));
  };
  const server = createServer((_, response) => {
    fetches += 1;
    (behave ?? answer)(response);
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return {
    url: `http://127.0.0.1:${address.port}/keys`,
    fetches: () => fetches,
    answer,
    publish: (...issuers: readonly TestIssuer[]) => {
      published = issuers;
    },
    /** How it answers from now on; by itself if not given. */
    behave: (next: typeof behave) => {
      behave = next;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
    },
  };
}

/** A gateway whose issuer has its keys on a server of their own. */
async function startWithKeys(behaviour?: (response: ServerResponse) => void) {
  const issuer = await startIssuer();
  const keys = await startKeyServer(behaviour);
  keys.publish(issuer);
  const system = await startSystem({
    env: {
      PORTICO_MODE: "production",
      AUTH_ISSUER: issuer.url,
      AUTH_AUDIENCE: audience,
      AUTH_JWKS_URL: keys.url,
    },
  });
  onTestFinished(async () => {
    await system.close();
    await Promise.all([issuer.close(), keys.close()]);
  });
  await vi.waitFor(() => expect(keys.fetches()).toBe(1), 3_000);
  return { issuer, keys, system };
}

/** Lets the time of the process's steady clock, by which keys get old, pass at will. */
function createClock() {
  let passed = 0;
  const steady = performance.now.bind(performance);
  vi.spyOn(performance, "now").mockImplementation(() => steady() + passed);
  return {
    pass: (milliseconds: number) => {
      passed += milliseconds;
    },
  };
}

function write(name: string, content: object): string {
  const path = join(folder, name);
  writeFileSync(path, JSON.stringify(content));
  return path;
}
