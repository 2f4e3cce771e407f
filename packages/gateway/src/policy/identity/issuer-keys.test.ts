import type { RequestListener, ServerResponse } from "node:http";
import { type CryptoKey, calculateJwkThumbprint, exportJWK, generateKeyPair, type JWK } from "jose";
import { pino } from "pino";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { StartError } from "../../errors.ts";
import { thrownBy } from "../../testing/call.ts";
import { serveHttp } from "../../testing/http.ts";
import { createIssuerKeys, type IssuerKeys, type IssuerKeysOptions } from "./issuer-keys.ts";

const [first, second] = [await jwk("1"), await jwk("2")];
const secret = await jwk("1", "private");
const weak = await exportJWK((await generateWeakRsa()).publicKey);
const oneSecond = 1_000;
const oneMinute = 60 * oneSecond;

const unverifiable = { reason: "CREDENTIALS_UNVERIFIABLE" };
const unknown = { code: "ERR_JWKS_NO_MATCHING_KEY" };

describe("the keys", () => {
  test("are fetched once, however many calls need them", async () => {
    const { keys, site } = await setUp();
    const found = await Promise.all([1, 2, 3].map(() => find(keys, "1")));
    expect(new Set(found).size).toBe(1);
    expect(await thumbprint(found[0])).toBe(await calculateJwkThumbprint(first));
    await find(keys, "1");
    expect(site.paths).toEqual(["/keys"]);
  });

  test("can be fetched before the first call", async () => {
    const { keys, site } = await setUp();
    expect(keys.epoch()).toBe(0);
    await keys.warm();
    expect(keys.epoch()).toBe(1);
    await find(keys, "1");
    expect(site.paths).toHaveLength(1);
  });

  test("can be missing when they are fetched before the first call", async () => {
    const { keys, site, lines } = await setUp();
    site.answer = fails;
    await keys.warm();
    expect(keys.epoch()).toBe(0);
    expect(lines).toHaveLength(1);
  });

  test("work without a key id, if exactly one fits", async () => {
    const { keys, site, clock } = await setUp();
    site.answer = json({ keys: [first, { ...second, use: "enc" }] });
    expect(await thumbprint(await find(keys, undefined))).toBe(await calculateJwkThumbprint(first));
    site.answer = json({ keys: [first, second] });
    clock.ms += 30 * oneSecond;
    await keys.warm();
    expect(await thrownBy(find(keys, undefined))).toMatchObject({
      code: "ERR_JWKS_MULTIPLE_MATCHING_KEYS",
    });
  });

  test.each<[string, Partial<JWK>]>([
    ["is for encryption", { use: "enc" }],
    ["is for another algorithm", { alg: "ES384" }],
    ["is for signing alone", { key_ops: ["sign"] }],
  ])("are not taken when one %s", async (_, change) => {
    const { keys, site } = await setUp();
    site.answer = json({ keys: [{ ...first, ...change }] });
    expect(await thrownBy(find(keys, "1"))).toMatchObject(unknown);
  });
});

describe("of a set, the gateway drops", () => {
  test.each<[string, unknown]>([
    ["a private key", secret],
    ["a symmetric key", { kty: "oct", kid: "1", k: "c2VjcmV0", alg: "HS256" }],
    ["a short RSA key", { ...weak, kid: "1" }],
    ["a key that is garbage", { kty: "RSA", kid: "1", n: "!!", e: "AQAB" }],
    ["a point that is not on the curve", { ...first, x: second.x }],
    ["a key of a kind that it does not know", { kty: "AKP", kid: "1", alg: "ML-DSA-44", pub: "AAAA" }],
    ["null", null],
    ["a string", "key"],
  ])("%s, and says so", async (_, key) => {
    const { keys, site, lines } = await setUp();
    site.answer = json({ keys: [key, second] });
    expect(await thrownBy(find(keys, "1"))).toMatchObject(unknown);
    await find(keys, "2");
    expect(lines).toMatchObject([{ msg: "the keys of the issuer were read", keys: 1, dropped: 1 }]);
  });
});

const bad: [string, (elsewhere: string) => RequestListener][] = [
  ["is down", () => (_request, response) => response.writeHead(503).end()],
  ["fails, and answers with keys all the same", () => failsWithKeys],
  ["hangs up", () => (_request, response) => response.destroy()],
  [
    "breaks off",
    () => (_request, response) => {
      response.writeHead(200, { "content-length": 100 }).write("{");
      setImmediate(() => response.destroy());
    },
  ],
  ["answers with HTML", () => (_request, response) => response.end("<html>")],
  ["answers with nothing", () => (_request, response) => response.writeHead(204).end()],
  ["answers with null", () => json(null)],
  ["answers with a list", () => json([first])],
  ["answers with other JSON", () => json({ keys: "none" })],
  ["answers with no keys", () => json({ keys: [] })],
  ["answers with keys that are no use", () => json({ keys: [{ kty: "oct", k: "c2VjcmV0", kid: "1" }] })],
  ["answers with bad keys of the same id", () => json({ keys: [{ kty: "RSA", kid: "1", n: "", e: "" }] })],
  ["answers with more keys than anyone has", () => json({ keys: Array(101).fill(first) })],
  ["answers with more than 1 MiB", () => json({ keys: [first], padding: "x".repeat(2 ** 20) })],
  ["never stops answering", () => endless],
  ["redirects", (to) => (_request, response) => response.writeHead(302, { location: to }).end()],
];

describe("an issuer that", () => {
  test.each(bad)("%s has no keys at first", async (_, listener) => {
    const { keys, site, lines } = await setUp();
    const elsewhere = await serveKeys();
    site.answer = listener(`${elsewhere.url}/keys`);
    const error = await thrownBy(find(keys, "1"));
    expect(error).toMatchObject({ ...unverifiable, cause: expect.any(Error) });
    expect(keys.epoch()).toBe(0);
    expect(lines).toMatchObject([
      { level: 40, msg: expect.stringContaining("its tokens are refused until they can") },
    ]);
    expect(elsewhere.paths).toEqual([]);
  });

  test.each(bad)("%s later keeps the keys that are known", async (_, listener) => {
    const { keys, site, clock, lines } = await setUp();
    const elsewhere = await serveKeys();
    await keys.warm();
    site.answer = listener(`${elsewhere.url}/keys`);
    clock.ms += 11 * oneMinute;
    await find(keys, "1");
    await vi.waitFor(() => expect(lines).toHaveLength(2));
    expect(lines[1]).toMatchObject({
      level: 40,
      msg: expect.stringContaining("the last ones are still used"),
    });
    await find(keys, "1");
    expect(keys.epoch()).toBe(1);
    expect(site.paths).toHaveLength(2);
    expect(elsewhere.paths).toEqual([]);
  });

  test("cannot be reached has no keys, and the log says where they should be", async () => {
    const lines: Line[] = [];
    // Port 2 is privileged, and nothing listens there. Port 1 would not do: fetch itself refuses it.
    const jwksUrl = "http://127.0.0.1:2/keys";
    const keys = createIssuerKeys({ issuer: "https://identity.acme.example", jwksUrl, log: logTo(lines) });
    expect(await thrownBy(find(keys, "1"))).toMatchObject(unverifiable);
    expect(lines).toMatchObject([
      { issuer: "https://identity.acme.example", err: { message: expect.stringContaining(jwksUrl) } },
    ]);
    expect(lines[0]?.err?.stack).toContain("ECONNREFUSED");
  });

  test("does not answer is given up", async () => {
    const timeout = new AbortController();
    const asked = vi.spyOn(AbortSignal, "timeout").mockReturnValue(timeout.signal);
    onTestFinished(() => asked.mockRestore());
    const { keys, site } = await setUp();
    const request = site.nextRequest();
    site.answer = () => {};
    const found = thrownBy(find(keys, "1"));
    await request;
    timeout.abort(new DOMException("too slow", "TimeoutError"));
    expect(await found).toMatchObject(unverifiable);
    expect(asked.mock.calls).toEqual([[3_000]]);
  });

  test("stops in the middle of its answer is given up", async () => {
    const timeout = new AbortController();
    const asked = vi.spyOn(AbortSignal, "timeout").mockReturnValue(timeout.signal);
    onTestFinished(() => asked.mockRestore());
    const { keys, site } = await setUp();
    const request = site.nextRequest();
    site.answer = (_request, response) => response.writeHead(200).write('{"keys":');
    const found = thrownBy(find(keys, "1"));
    await request;
    timeout.abort(new DOMException("too slow", "TimeoutError"));
    expect(await found).toMatchObject(unverifiable);
  });
});

describe("as time goes by", () => {
  test("the keys are fetched again after 10 minutes, and not before", async () => {
    const { keys, site, clock } = await setUp();
    await keys.warm();
    clock.ms += 10 * oneMinute - 1;
    await find(keys, "1");
    keys.epoch();
    expect(site.paths).toHaveLength(1);
    clock.ms += 1;
    await find(keys, "1");
    await vi.waitFor(() => expect(site.paths).toHaveLength(2));
  });

  test("no call waits for that, even if the issuer takes for ever", async () => {
    const { keys, site, clock } = await setUp();
    await keys.warm();
    const request = site.nextRequest();
    site.answer = () => {};
    clock.ms += 10 * oneMinute;
    expect(await thumbprint(await find(keys, "1"))).toBe(await calculateJwkThumbprint(first));
    await request;
    for (let call = 0; call < 10; call += 1) await find(keys, "1");
    expect(keys.epoch()).toBe(1);
    expect(site.paths).toHaveLength(2);
  });

  test("to ask for the epoch is enough to keep them fresh", async () => {
    const { keys, site, clock } = await setUp();
    await keys.warm();
    site.answer = json({ keys: [second] });
    clock.ms += 10 * oneMinute;
    expect(keys.epoch()).toBe(1);
    await vi.waitFor(() => expect(keys.epoch()).toBe(2));
    // A key that the issuer took back is gone with its set.
    expect(await thrownBy(find(keys, "1"))).toMatchObject(unknown);
    expect(site.paths).toHaveLength(2);
  });

  test("the same keys in another order are the same epoch", async () => {
    const { keys, site, clock, lines } = await setUp();
    site.answer = json({ keys: [first, second] });
    await keys.warm();
    site.answer = json({ keys: [second, first] });
    clock.ms += 10 * oneMinute;
    await keys.warm();
    expect(keys.epoch()).toBe(1);
    expect(site.paths).toHaveLength(2);
    expect(lines).toHaveLength(1);
  });

  test("keys that cannot be fetched again are used for an hour, then never", async () => {
    const { keys, site, clock } = await setUp();
    await keys.warm();
    site.answer = fails;
    clock.ms += 60 * oneMinute - 1;
    await find(keys, "1");
    expect(keys.epoch()).toBe(1);
    await vi.waitFor(() => expect(site.paths).toHaveLength(2));
    clock.ms += 1;
    expect(keys.epoch()).toBe(0);
    expect(await thrownBy(find(keys, "1"))).toMatchObject(unverifiable);
  });

  test("keys that nobody needed for an hour are fetched while the call waits", async () => {
    const { keys, site, clock } = await setUp();
    await keys.warm();
    clock.ms += 5 * 60 * oneMinute;
    await find(keys, "1");
    expect(site.paths).toHaveLength(2);
    expect(keys.epoch()).toBe(1);
  });

  test("an issuer that is down is asked twice a minute, and every attempt is in the log", async () => {
    const { keys, site, clock, lines } = await setUp();
    await keys.warm();
    site.answer = fails;
    clock.ms += 10 * oneMinute;
    for (let seconds = 0; seconds < 120; seconds += 1) {
      await find(keys, "1");
      await settled(site, lines);
      clock.ms += oneSecond;
    }
    expect(site.paths).toHaveLength(1 + 4);
    expect(lines.filter(({ level }) => level === 40).map(({ failures }) => failures)).toEqual([1, 2, 3, 4]);
  });

  test("without any keys the attempts come less and less often, and other calls fail at once", async () => {
    const { keys, site, clock } = await setUp();
    site.answer = fails;
    const attempts: number[] = [];
    for (; clock.ms < 130 * oneSecond; clock.ms += oneSecond / 2) {
      const before = site.paths.length;
      expect(await thrownBy(find(keys, "1"))).toMatchObject(unverifiable);
      if (site.paths.length > before) attempts.push(clock.ms / oneSecond);
    }
    expect(attempts).toEqual([0, 1, 3, 7, 15, 31, 61, 91, 121]);
  });

  test("an issuer that came back is found at the next attempt", async () => {
    const { keys, site, clock } = await setUp();
    site.answer = fails;
    expect(await thrownBy(find(keys, "1"))).toMatchObject(unverifiable);
    site.answer = json({ keys: [first] });
    expect(await thrownBy(find(keys, "1"))).toMatchObject(unverifiable);
    clock.ms += oneSecond;
    await find(keys, "1");
    expect(keys.epoch()).toBe(1);
  });
});

describe("a key id that is not known", () => {
  test("is looked for, and found if the issuer has a new key", async () => {
    const { keys, site, clock } = await setUp();
    await keys.warm();
    site.answer = json({ keys: [first, second] });
    clock.ms += 30 * oneSecond;
    expect(await thumbprint(await find(keys, "2"))).toBe(await calculateJwkThumbprint(second));
    expect(keys.epoch()).toBe(2);
    expect(site.paths).toHaveLength(2);
  });

  test("is refused at once for 30 seconds after a fetch", async () => {
    const { keys, site, clock } = await setUp();
    await keys.warm();
    site.answer = json({ keys: [first, second] });
    clock.ms += 30 * oneSecond - 1;
    expect(await thrownBy(find(keys, "2"))).toMatchObject(unknown);
    expect(site.paths).toHaveLength(1);
    clock.ms += 1;
    await find(keys, "2");
  });

  test("is unverifiable if it was looked for and the issuer is down, and refused until the next attempt", async () => {
    const { keys, site, clock } = await setUp();
    await keys.warm();
    site.answer = fails;
    clock.ms += 30 * oneSecond;
    expect(await thrownBy(find(keys, "2"))).toMatchObject(unverifiable);
    expect(await thrownBy(find(keys, "2"))).toMatchObject(unknown);
    await find(keys, "1");
    expect(site.paths).toHaveLength(2);
  });

  test("waits with others for one fetch, while known keys do not wait", async () => {
    const { keys, site, clock } = await setUp();
    await keys.warm();
    clock.ms += 30 * oneSecond;
    const held: ServerResponse[] = [];
    const request = site.nextRequest();
    site.answer = (_request, response) => held.push(response);
    const found = Promise.all(Array.from({ length: 50 }, () => find(keys, "2")));
    await request;
    await find(keys, "1");
    for (const response of held) response.end(JSON.stringify({ keys: [first, second] }));
    expect(new Set(await found).size).toBe(1);
    expect(site.paths).toHaveLength(2);
  });

  test("10,000 of them make no more than two fetches a minute, and known keys go on working", async () => {
    const { keys, site, clock } = await setUp();
    await keys.warm();
    clock.ms += 30 * oneSecond;
    const from = site.paths.length;
    for (let batch = 0; batch < 100; batch += 1) {
      const errors = await Promise.all(
        Array.from({ length: 100 }, (_, index) => thrownBy(find(keys, `${batch}-${index}`))),
      );
      for (const error of errors) expect(error).toMatchObject(unknown);
      await find(keys, "1");
      clock.ms += oneMinute / 100;
    }
    expect(site.paths.length - from).toBe(2);
  });

  test.each([
    ["a path", "../../etc/passwd"],
    ["SQL", "1' OR '1'='1"],
    ["the name of what every object has", "__proto__"],
    ["another one", "constructor"],
    ["empty", ""],
    ["very long", "x".repeat(8_000)],
  ])("may be anything, such as %s", async (_, kid) => {
    const { keys, site } = await setUp();
    expect(await thrownBy(find(keys, kid))).toMatchObject(unknown);
    expect(site.paths).toEqual(["/keys"]);
  });
});

describe("discovery", () => {
  const well = "/.well-known/openid-configuration";
  const through = async (document: (url: string) => unknown = proper) => {
    const set = await setUp();
    const { site } = set;
    site.answer = (request, response) => {
      const body = request.url === well ? document(site.url) : { keys: [first] };
      response.end(JSON.stringify(body));
    };
    const keys = createIssuerKeys({ ...set.options, issuer: site.url, jwksUrl: undefined });
    return { ...set, keys };
  };
  const proper = (url: string) => ({ issuer: url, jwks_uri: `${url}/keys` });

  test("finds the keys where the issuer says, once", async () => {
    const { keys, site } = await through();
    await Promise.all([find(keys, "1"), find(keys, "1")]);
    await find(keys, "1");
    expect(site.paths).toEqual([well, "/keys"]);
  });

  test("knows an issuer whose name ends in a slash", async () => {
    const { site, options } = await through((url) => ({ issuer: `${url}/`, jwks_uri: `${url}/keys` }));
    await find(createIssuerKeys({ ...options, issuer: `${site.url}/`, jwksUrl: undefined }), "1");
    expect(site.paths).toEqual([well, "/keys"]);
  });

  test.each<[string, (url: string) => unknown]>([
    ["of another issuer", (url) => ({ issuer: "https://evil.example", jwks_uri: `${url}/keys` })],
    ["of an issuer with a slash more", (url) => ({ issuer: `${url}/`, jwks_uri: `${url}/keys` })],
    ["of no issuer", (url) => ({ jwks_uri: `${url}/keys` })],
    ["without keys", (url) => ({ issuer: url })],
    ["whose keys are no URL", (url) => ({ issuer: url, jwks_uri: "/keys" })],
    ["whose keys are in a file", (url) => ({ issuer: url, jwks_uri: "file:///keys" })],
    [
      "that has the keys in it",
      (url) => ({ issuer: url, jwks_uri: `data:,${JSON.stringify({ keys: [first] })}` }),
    ],
    ["that is no object", () => "document"],
    ["that is null", () => null],
  ])("a document %s is not followed", async (_, document) => {
    const { keys, site, lines } = await through(document);
    expect(await thrownBy(find(keys, "1"))).toMatchObject(unverifiable);
    expect(lines).toMatchObject([{ err: { message: expect.stringContaining("has no jwks_uri") } }]);
    expect(site.paths).toEqual([well]);
  });

  test.each([
    ["http", unverifiable],
    ["https", undefined],
  ])("an issuer with https may have its keys at %s or not", async (scheme, refusal) => {
    const issuer = "https://identity.acme.example";
    const { site, options } = await through(() => ({
      issuer,
      jwks_uri: `${scheme}://keys.acme.example/keys`,
    }));
    // Neither host is there: both are this server.
    const fetch: typeof globalThis.fetch = (input, init) =>
      globalThis.fetch(`${site.url}${new URL(String(input)).pathname}`, init);
    const found = find(createIssuerKeys({ ...options, issuer, jwksUrl: undefined, fetch }), "1");
    if (refusal === undefined) await found;
    else expect(await thrownBy(found)).toMatchObject(refusal);
    expect(site.paths.includes("/keys")).toBe(refusal === undefined);
  });

  test("that fails is tried again as keys are", async () => {
    let up = false;
    const { keys, site, clock } = await through((url) => (up ? proper(url) : {}));
    expect(await thrownBy(find(keys, "1"))).toMatchObject(unverifiable);
    up = true;
    expect(await thrownBy(find(keys, "1"))).toMatchObject(unverifiable);
    expect(site.paths).toEqual([well]);
    clock.ms += oneSecond;
    await find(keys, "1");
    expect(site.paths).toEqual([well, well, "/keys"]);
  });

  test("that fails later does not keep the keys from being read where they were", async () => {
    let up = true;
    const { keys, site, clock, lines } = await through((url) => (up ? proper(url) : {}));
    await keys.warm();
    up = false;
    clock.ms += 10 * oneMinute;
    await keys.warm();
    expect(site.paths).toEqual([well, "/keys", well, "/keys"]);
    expect(lines.map(({ level, msg }) => [level, msg])).toEqual([
      [30, "the keys of the issuer were read"],
      [40, "the discovery of the issuer fails: its keys are read where they last were"],
    ]);
  });

  test("follows an issuer whose keys have moved", async () => {
    let path = "/keys";
    const { keys, site, clock } = await through((url) => ({ issuer: url, jwks_uri: `${url}${path}` }));
    await keys.warm();
    path = "/new-keys";
    clock.ms += 10 * oneMinute;
    await keys.warm();
    expect(site.paths).toEqual([well, "/keys", well, "/new-keys"]);
  });

  test("does not follow redirects", async () => {
    const { keys, site } = await through();
    const elsewhere = await serveKeys();
    site.answer = (_request, response) => response.writeHead(302, { location: elsewhere.url }).end();
    expect(await thrownBy(find(keys, "1"))).toMatchObject(unverifiable);
    expect(elsewhere.paths).toEqual([]);
  });
});

describe("an address that is none is refused when the gateway starts", () => {
  test.each<[IssuerKeysOptions, string]>([
    [{ issuer: "acme" }, 'issuer is "acme"'],
    [{ issuer: "acme", jwksUrl: "keys.json" }, 'jwksUrl is "keys.json"'],
    [{ issuer: "https://identity.acme.example", jwksUrl: "file:///keys.json" }, "jwksUrl is"],
  ])("%j", async (options, problem) => {
    const error = await thrownBy(() => createIssuerKeys(options));
    expect(error).toBeInstanceOf(StartError);
    expect((error as StartError).problems).toEqual([expect.stringContaining(problem)]);
    expect((error as StartError).message).toContain("it must be a URL that begins with https:// or http://");
  });

  test("but an issuer without one may have its keys somewhere", () => {
    expect(createIssuerKeys({ issuer: "acme", jwksUrl: "http://127.0.0.1/keys" }).epoch()).toBe(0);
  });
});

/** A line of the log. */
interface Line {
  readonly level: number;
  readonly msg: string;
  readonly issuer: string;
  readonly failures?: number;
  readonly err?: { readonly message: string; readonly stack: string };
}

/** The keys of an issuer whose server answers what the test says, by a clock that stands still. */
async function setUp() {
  const site = await serveKeys();
  const clock = { ms: 0 };
  const lines: Line[] = [];
  const options: IssuerKeysOptions = {
    issuer: "https://identity.acme.example",
    jwksUrl: `${site.url}/keys`,
    now: () => clock.ms,
    log: logTo(lines),
  };
  return { keys: createIssuerKeys(options), site, clock, lines, options };
}

async function serveKeys() {
  const site = {
    url: "",
    paths: [] as string[],
    answer: json({ keys: [first] }) as RequestListener,
    arrived: () => {},
    nextRequest: () =>
      new Promise<void>((resolve) => {
        site.arrived = resolve;
      }),
  };
  site.url = await serveHttp((request, response) => {
    site.paths.push(request.url ?? "");
    site.answer(request, response);
    site.arrived();
  });
  return site;
}

function logTo(lines: Line[]) {
  return pino({}, { write: (line: string) => lines.push(JSON.parse(line)) });
}

/** Waits until every request so far has ended in a line: one tells of the keys, the others of failures. */
async function settled(site: { readonly paths: string[] }, lines: readonly Line[]): Promise<void> {
  // A fetch in the background reaches the server a moment after the call that began it.
  await new Promise((resolve) => setTimeout(resolve, 1));
  await vi.waitFor(() => expect(lines.length).toBe(site.paths.length), { interval: 1 });
}

function json(value: unknown): RequestListener {
  return (_request, response) => response.end(JSON.stringify(value));
}

function fails(_request: unknown, response: ServerResponse): void {
  response.writeHead(500).end();
}

function failsWithKeys(_request: unknown, response: ServerResponse): void {
  response.writeHead(500).end(JSON.stringify({ keys: [first] }));
}

/** Sends white space until the other side hangs up. */
function endless(_request: unknown, response: ServerResponse): void {
  const send = () => {
    while (!response.destroyed && response.write(" ".repeat(65_536)));
  };
  response.on("drain", send);
  send();
}

function find(keys: IssuerKeys, kid: string | undefined) {
  const header = { alg: "ES256", ...(kid === undefined ? {} : { kid }) };
  return Promise.resolve(keys.find(header, { payload: "", signature: "" }));
}

async function thumbprint(key: Awaited<ReturnType<IssuerKeys["find"]>> | undefined): Promise<string> {
  if (key === undefined) throw new Error("there is no key");
  return calculateJwkThumbprint(await exportJWK(key as CryptoKey));
}

async function jwk(kid: string, part: "public" | "private" = "public"): Promise<JWK> {
  const pair = await generateKeyPair("ES256", { extractable: true });
  return { ...(await exportJWK(part === "public" ? pair.publicKey : pair.privateKey)), kid };
}

/** jose makes none so short. */
function generateWeakRsa() {
  return crypto.subtle.generateKey(
    {
      name: "RSASSA-PKCS1-v1_5",
      modulusLength: 1_024,
      publicExponent: new Uint8Array([1, 0, 1]),
      hash: "SHA-256",
    },
    true,
    ["sign", "verify"],
  );
}
