import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer as createHttp } from "node:http";
import { type AddressInfo, createServer as createTcp } from "node:net";
import { fileURLToPath } from "node:url";
import { type RunningMocks, startMocks } from "@portico/internal-mocks";
import { type CryptoKey, exportJWK, generateKeyPair, type JWTPayload, SignJWT } from "jose";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

// The gateway as a process of its own: what it says when it cannot start, and production mode with a real issuer.

const main = fileURLToPath(new URL("../packages/gateway/src/main.ts", import.meta.url));
const accessFile = fileURLToPath(new URL("../packages/gateway/src/app/access.json", import.meta.url));
const somewhere = "http://127.0.0.1:1";

/** What is enough for a start. */
const demo = {
  PORTICO_MODE: "demo",
  PORT: "0",
  ADMIN_PORT: "0",
  ACCESS_FILE: accessFile,
  UPSTREAM_USERS: somewhere,
  UPSTREAM_ORDERS: somewhere,
  UPSTREAM_INVENTORY: somewhere,
};

type Environment = Readonly<Record<string, string | undefined>>;

const running = new Set<ChildProcess>();
afterEach(async () => {
  for (const child of running) {
    child.kill("SIGKILL");
    await once(child, "close");
  }
});

/** Loads the app's views without the line that gives an order its status. */
const withoutStatus = `data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from "node:module";
  registerHooks({
    load(url, context, next) {
      const loaded = next(url, context);
      if (!url.endsWith("/app/views.ts")) return loaded;
      return { ...loaded, source: String(loaded.source).replace(/^  status: .*$/m, "") };
    },
  });
`)}`;

/** Starts the gateway with these variables alone. */
function launch(env: Environment, nodeOptions: readonly string[] = []) {
  const child = spawn(process.execPath, [...nodeOptions, main], {
    env: { ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  running.add(child);
  child.once("close", () => running.delete(child));
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk) => {
    stdout += String(chunk);
  });
  child.stderr.on("data", (chunk) => {
    stderr += String(chunk);
  });
  return {
    child,
    output: () => ({ stdout, stderr }),
    lines: (): Record<string, unknown>[] =>
      stdout.split("\n").flatMap((line) => (line ? [JSON.parse(line)] : [])),
  };
}

/** Starts a gateway that is to fail: its exit code and what it said. */
async function fail(
  env: Environment,
  nodeOptions: readonly string[] = [],
): Promise<{ code: unknown; stdout: string; stderr: string }> {
  const { child, output } = launch(env, nodeOptions);
  const [code] = await once(child, "close");
  return { code, ...output() };
}

function expectPlainFailure({ code, stdout, stderr }: Awaited<ReturnType<typeof fail>>): void {
  expect(code).toBe(1);
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^Portico cannot start:\n( {2}- .*\n( {4}.*\n)*)+$/);
  expect(stderr).not.toMatch(/\n\s+at |node:|Error:|\.ts:/);
}

describe("a gateway that cannot start", () => {
  test("names a public field without a source, and what would be one", async () => {
    const got = await fail(demo, ["--import", withoutStatus]);
    expectPlainFailure(got);
    expect(got.stderr).toContain(
      "smpl.api.orders.v1.Order.status has no source in its view of smpl.orders.v1.Order",
    );
    expect(got.stderr).toContain("enumByName(OrderStatusSchema, OrderStatusSchema, {");
  });

  test("names an upstream without an address", async () => {
    const got = await fail({ ...demo, UPSTREAM_USERS: undefined });
    expectPlainFailure(got);
    expect(got.stderr).toBe(
      "Portico cannot start:\n" +
        "  - UPSTREAM_USERS is not set: write where the service is, such as " +
        "http://host:port, https://host:port or dns:///name:port\n",
    );
  });

  test("lists all that is wrong at once", async () => {
    const got = await fail({
      ...demo,
      PORTICO_MODE: "production",
      PORT: "abc",
      CORS_ORIGINS: "https://a.example/path",
      UPSTREAM_USERS: undefined,
      UPSTREAM_ORDERS: "nowhere",
      UPSTREAM_USER: somewhere,
      ACCESS_FILE: "/nowhere/access.json",
      TLS_CERT_FILE: "/nowhere/cert.pem",
    });
    expectPlainFailure(got);
    for (const problem of [
      /- PORT is "abc": it must be a whole number from 0 to 65535/,
      /- CORS_ORIGINS is "https:\/\/a\.example\/path": it must be origins/,
      /- UPSTREAM_USERS is not set: write/,
      /- UPSTREAM_ORDERS is "nowhere": it must be http:/,
      /- UPSTREAM_USER belongs to no upstream/,
      /- AUTH_ISSUER is not set: write/,
      /- AUTH_AUDIENCE is not set: write/,
      /- ACCESS_FILE is "\/nowhere\/access\.json", which cannot be read/,
      /- TLS_CERT_FILE and TLS_KEY_FILE go together/,
    ])
      expect(got.stderr).toMatch(problem);
  });

  test("with nothing set says all that it needs", async () => {
    const got = await fail({});
    expectPlainFailure(got);
    for (const name of [
      "AUTH_ISSUER",
      "AUTH_AUDIENCE",
      "ACCESS_FILE",
      "UPSTREAM_USERS",
      "UPSTREAM_ORDERS",
      "UPSTREAM_INVENTORY",
    ])
      expect(got.stderr).toContain(`- ${name} is not set: write`);
  });

  test.each(["PORT", "ADMIN_PORT"])("says that the port is taken: %s", async (variable) => {
    const holder = createTcp().listen(0, "127.0.0.1");
    await once(holder, "listening");
    // A TCP server's address is never the text that a Unix socket's is.
    const { port } = holder.address() as AddressInfo;
    const got = await fail({ ...demo, [variable]: String(port) });
    holder.close();
    expectPlainFailure(got);
    expect(got.stderr).toMatch(new RegExp(`- port ${port} is taken: .*set ${variable} to another`));
    expect(got.stderr.trim().split("\n")).toHaveLength(2);
  });

  test.each([
    [{ HOST: "0.0.0.0" }, /HOST must be 127\.0\.0\.1, ::1 or localhost, not "0\.0\.0\.0"/],
    [{ HOST: "::" }, /HOST must be 127\.0\.0\.1, ::1 or localhost, not "::"/],
    [{ AUTH_ISSUER: "https://id.example" }, /has an identity of its own: remove AUTH_ISSUER/],
    [{ AUTH_JWKS_URL: "https://id.example/keys", AUTH_AUDIENCE: "a" }, /remove AUTH_AUDIENCE, AUTH_JWKS_URL/],
    [{ NODE_ENV: "production" }, /although NODE_ENV is "production"/],
  ])("in demo mode with %o", async (env: Environment, says) => {
    const got = await fail({ ...demo, ...env });
    expectPlainFailure(got);
    expect(got.stderr).toMatch(says);
  });
});

describe("production mode with an issuer", () => {
  let mocks: RunningMocks;
  let keys: Awaited<ReturnType<typeof generateKeyPair>>;
  let issuer: string;
  /** Paths that the issuer was asked for. */
  let asked: string[];
  let issuerIsUp = true;
  const server = createHttp(async (request, response) => {
    asked.push(request.url ?? "");
    if (!issuerIsUp) return void response.writeHead(503).end();
    const jwk = { ...(await exportJWK(keys.publicKey)), kid: "one", alg: "ES256", use: "sig" };
    const documents: Record<string, object> = {
      "/.well-known/openid-configuration": { issuer, jwks_uri: `${issuer}/keys` },
      "/keys": { keys: [jwk] },
    };
    const document = documents[request.url ?? ""];
    response.writeHead(document === undefined ? 404 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(document ?? {}));
  });

  beforeAll(async () => {
    mocks = await startMocks({ users: 10, orders: 10, items: 10 });
    keys = await generateKeyPair("ES256");
    await once(server.listen(0, "127.0.0.1"), "listening");
    issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    issuerIsUp = true;
  });
  afterAll(async () => {
    server.close();
    await mocks.close();
  });

  async function startProduction() {
    asked = [];
    const gateway = launch({
      PORT: "0",
      ADMIN_PORT: "0",
      ACCESS_FILE: accessFile,
      NODE_ENV: "production",
      AUTH_ISSUER: issuer,
      AUTH_AUDIENCE: "api",
      UPSTREAM_USERS: mocks.users.url,
      UPSTREAM_ORDERS: mocks.orders.url,
      UPSTREAM_INVENTORY: mocks.inventory.url,
    });
    await expect.poll(() => gateway.lines().length, { timeout: 10_000 }).toBeGreaterThan(0);
    expect(gateway.lines()[0]).toMatchObject({ msg: "listening", mode: "production" });
    const url = String(gateway.lines()[0]?.["url"]);
    const call = (authorization?: string) =>
      fetch(`${url}/smpl.api.users.v1.UsersService/GetUser`, {
        method: "POST",
        headers: { "content-type": "application/json", ...(authorization && { authorization }) },
        body: '{"id":"user-1"}',
      });
    return { ...gateway, url, call };
  }

  function sign(claims: JWTPayload, key: CryptoKey = keys.privateKey): Promise<string> {
    const whole = { iss: issuer, aud: "api", sub: "ada", roles: ["admin"], exp: 1e10, ...claims };
    return new SignJWT(whole).setProtectedHeader({ alg: "ES256", kid: "one" }).sign(key);
  }

  test("takes its tokens by discovery, and has no demo tokens", async () => {
    const { call, url, child } = await startProduction();
    expect((await fetch(`${url}/demo/token?sub=ada&role=admin`)).status).toBe(404);
    expect((await call()).status).toBe(401);
    const got = await call(`Bearer ${await sign({})}`);
    expect(got.status).toBe(200);
    expect(await got.json()).toMatchObject({ user: { id: "user-1" } });
    expect((await call(`Bearer ${await sign({ roles: ["viewer"] })}`)).status).toBe(403);
    expect((await call(`Bearer ${await sign({ roles: [] })}`)).status).toBe(403);
    // Once each, however many calls there were.
    expect(asked).toEqual(["/.well-known/openid-configuration", "/keys"]);
    child.kill("SIGTERM");
    expect(await once(child, "close")).toEqual([0, null]);
  });

  test("refuses every other token", async () => {
    const { call, lines } = await startProduction();
    const stranger = await generateKeyPair("ES256");
    const tokens = await Promise.all([
      sign({ aud: "another" }),
      sign({ iss: `${issuer}/` }),
      sign({ iss: "https://demo.portico.invalid", aud: "portico-demo" }),
      sign({ exp: 1_000_000_000 }),
      sign({ nbf: 9_999_999_999 }),
      sign({ sub: "" }),
      sign({}, stranger.privateKey),
    ]);
    mocks.users.calls.clear();
    for (const token of tokens) {
      const got = await call(`Bearer ${token}`);
      expect(got.status).toBe(401);
      expect(got.headers.get("www-authenticate")).toBe("Bearer");
      expect(await got.json()).toMatchObject({
        message: expect.stringMatching(/^The token (is not valid|has expired)\.$/),
      });
    }
    expect(mocks.users.calls.count()).toBe(0);
    expect(JSON.stringify(lines())).not.toContain("eyJ");
  });

  test("cannot tell while it never had the issuer's keys, says so, and recovers", async () => {
    issuerIsUp = false;
    const { call, lines } = await startProduction();
    const authorization = `Bearer ${await sign({})}`;
    const got = await call(authorization);
    issuerIsUp = true;
    expect(got.status).toBe(503);
    const text = await got.text();
    expect(JSON.parse(text)).toMatchObject({
      code: "unavailable",
      message: expect.stringMatching(/cannot be verified at the moment/),
    });
    expect(text).not.toMatch(/127\.0\.0\.1|openid/);
    await expect
      .poll(lines)
      .toContainEqual(expect.objectContaining({ msg: expect.stringMatching(/keys .* cannot be read/) }));
    // The next attempt is a second after the last one at the soonest, however many ask for it.
    await expect.poll(async () => (await call(authorization)).status, { timeout: 15_000 }).toBe(200);
    expect(asked.filter((path) => path === "/keys")).toHaveLength(1);
    expect(asked.length).toBeLessThan(10);
  });

  test("goes on with the keys that it has when the issuer goes down", async () => {
    const { call } = await startProduction();
    expect((await call(`Bearer ${await sign({})}`)).status).toBe(200);
    issuerIsUp = false;
    expect((await call(`Bearer ${await sign({ sub: "bob" })}`)).status).toBe(200);
    // Another key is not looked for so soon after the last time.
    const other = new SignJWT({ iss: issuer, aud: "api", sub: "ada", exp: 1e10 });
    const newer = await other.setProtectedHeader({ alg: "ES256", kid: "two" }).sign(keys.privateKey);
    expect((await call(`Bearer ${newer}`)).status).toBe(401);
    expect(asked).toEqual(["/.well-known/openid-configuration", "/keys"]);
  });
});
