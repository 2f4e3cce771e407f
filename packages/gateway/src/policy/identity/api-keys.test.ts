import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { PublicError, StartError } from "../../errors.ts";
import { thrownBy } from "../../testing/call.ts";
import { apiKeyPrefix, createApiKeyVerifier, generateApiKey, parseApiKeys } from "./api-keys.ts";

const key = `ptk_abcdefghij01_${"s".repeat(43)}`;
const entry = {
  id: "abcdefghij01",
  name: "Acme",
  sha256: createHash("sha256").update(key).digest("hex"),
  roles: ["viewer"],
  createdAt: "2026-01-01T00:00:00Z",
};
const start = Date.parse("2026-06-01T00:00:00Z");

function fileOf(...keys: readonly object[]): string {
  return JSON.stringify({ keys });
}

function verifierOf(parts: object = {}, now = () => start) {
  const keys = parseApiKeys(fileOf({ ...entry, ...parts }), "keys.json");
  return createApiKeyVerifier(() => keys, { now });
}

async function problemsOf(text: string): Promise<readonly string[]> {
  const error = await thrownBy(() => parseApiKeys(text, "keys.json"));
  expect(error).toBeInstanceOf(StartError);
  return (error as StartError).problems;
}

describe("parseApiKeys", () => {
  test("keeps the entries as they are, and finds them by id", () => {
    const whole = {
      ...entry,
      tenant: "acme",
      expiresAt: "2027-01-31T00:00:00+01:00",
      limits: ["100/1m", "5/1s"],
    };
    const keys = parseApiKeys(fileOf(whole), "keys.json");
    expect(keys.entries).toEqual([whole]);
    expect([...keys.byId.keys()]).toEqual([entry.id]);
  });

  test("lists every problem with its place, and repeats no value", async () => {
    const problems = await problemsOf(
      fileOf(
        entry,
        { ...entry, id: "ABC", sha256: key, roles: ["a", "", "b\n"], limits: ["1/1x"] },
        { ...entry, id: "abcdefghij02", name: " Acme", createdAt: "yesterday", secret: "x", limits: [] },
      ),
    );
    expect(problems).toEqual([
      "keys.json: keys[1].id: must be 12 characters of a-z and 0-9",
      "keys.json: keys[1].sha256: must be the SHA-256 of the key, as 64 characters of 0-9 and a-f",
      "keys.json: keys[1].roles[1]: must be a text without control characters or outer spaces",
      "keys.json: keys[1].roles[2]: must be a text without control characters or outer spaces",
      expect.stringContaining(
        'keys.json: keys[1].limits: must be calls in a time (s, m, h or d), such as "600/1m"',
      ),
      "keys.json: keys[2].name: must be a text without control characters or outer spaces",
      "keys.json: keys[2].createdAt: must be a time such as 2027-01-31T00:00:00Z",
      'keys.json: keys[2].limits: must be limits such as ["600/1m"]; leave it out for the common ones',
      'keys.json: keys[2]: Unrecognized key: "secret"',
    ]);
    expect(problems.join()).not.toContain(key);
  });

  test("finds ids that are there twice", async () => {
    expect(await problemsOf(fileOf(entry, { ...entry, name: "Other" }))).toEqual([
      "keys.json: keys[1].id: is the id of keys[0] too: remove one of them",
    ]);
  });

  test.each(["", "{", "null", "[]", "{}", '{"keys":{}}', '{"keys":[],"more":1}'])(
    "refuses %j",
    async (text) => {
      expect((await problemsOf(text)).join()).toContain("keys.json");
    },
  );

  test.each(["2026-02-30T00:00:00Z", "2026-01-01", "2026-01-01T00:00:00", "1767225600"])(
    "refuses %s as a time",
    async (expiresAt) => {
      expect(await problemsOf(fileOf({ ...entry, expiresAt }))).toEqual([
        "keys.json: keys[0].expiresAt: must be a time such as 2027-01-31T00:00:00Z",
      ]);
    },
  );
});

describe("a key that is right", () => {
  test("is a caller with the roles, the tenant and the limits of its entry", () => {
    const verify = verifierOf({
      roles: ["viewer", "support", "viewer"],
      tenant: "acme",
      limits: ["100/1m, 5/1s"],
    });
    expect(verify(key)).toEqual({
      kind: "api_key",
      id: '["api_key","api-keys","abcdefghij01"]',
      subject: "abcdefghij01",
      issuer: "api-keys",
      tenant: "acme",
      roles: ["viewer", "support"],
      limits: [
        { calls: 100, windowSeconds: 60 },
        { calls: 5, windowSeconds: 1 },
      ],
    });
  });

  test("has the common limits if its entry says none, and no limits if it says off", () => {
    expect(verifierOf()(key)).not.toHaveProperty("limits");
    expect(verifierOf({ limits: ["off"] })(key).limits).toEqual([]);
  });

  test("is the same object each time, and what the file says as soon as it is read anew", () => {
    let keys = parseApiKeys(fileOf(entry), "keys.json");
    const verify = createApiKeyVerifier(() => keys, { now: () => start });
    const before = verify(key);
    expect(verify(key)).toBe(before);
    keys = parseApiKeys(fileOf({ ...entry, roles: [] }), "keys.json");
    expect(verify(key).roles).toEqual([]);
    keys = parseApiKeys(fileOf({ ...entry, revokedAt: "2026-06-01T00:00:00Z" }), "keys.json");
    expect(() => verify(key)).toThrow("The API key is not valid.");
  });

  test("is good until the moment it expires", () => {
    let now = Date.parse("2027-01-30T23:59:59.999Z");
    const verify = verifierOf({ expiresAt: "2027-01-31T01:00:00+01:00" }, () => now);
    expect(verify(key).subject).toBe(entry.id);
    now += 1;
    expect(() => verify(key)).toThrow("The API key has expired.");
  });
});

describe("a key that is not right", () => {
  const wrongSecret = `${key.slice(0, -1)}t`;
  const expired = { expiresAt: "2026-01-02T00:00:00Z" };
  const revoked = { revokedAt: "2026-01-02T00:00:00Z" };

  test.each<[string, string, object]>([
    ["empty", "", {}],
    ["without its prefix", key.slice(4), {}],
    ["of another prefix", key.replace("ptk_", "sk_"), {}],
    ["in capitals", key.toUpperCase(), {}],
    ["too short", key.slice(0, -1), {}],
    ["too long", `${key}s`, {}],
    ["with a line break after it", `${key}\n`, {}],
    ["very long", key + "s".repeat(1_000_000), {}],
    ["with padding", `${key.slice(0, -1)}=`, {}],
    ["an id as every object has", `ptk___proto____${"_".repeat(43)}`, {}],
    ["of an unknown id", key.replace("abc", "xyz"), {}],
    ["of another secret", wrongSecret, {}],
    ["its own hash", entry.sha256, {}],
    ["of another secret, and expired", wrongSecret, expired],
    ["of another secret, and revoked", wrongSecret, revoked],
    ["revoked", key, revoked],
    ["revoked from some day to come", key, { revokedAt: "2036-01-02T00:00:00Z" }],
    ["revoked and expired", key, { ...revoked, ...expired }],
  ])("has one and the same answer: %s", async (_, given, parts) => {
    const error = await thrownBy(() => verifierOf(parts)(given));
    expect(error).toBeInstanceOf(PublicError);
    expect(error).toMatchObject({ reason: "CREDENTIALS_INVALID", rawMessage: "The API key is not valid." });
  });

  test("is said to have expired only to who has its secret", async () => {
    const error = await thrownBy(() => verifierOf(expired)(key));
    expect(error).toMatchObject({ reason: "CREDENTIALS_EXPIRED", rawMessage: "The API key has expired." });
  });

  test.each<[string, object]>([
    [wrongSecret, {}],
    [key, revoked],
    [key, expired],
    [key.replace("abc", "xyz"), {}],
    [`${key}s`, {}],
  ])("has a cause for the log without the secret: %s %j", async (given, parts) => {
    const error = (await thrownBy(() => verifierOf(parts)(given))) as PublicError;
    expect(String(error.cause)).toMatch(/API key/);
    expect(`${String(error.cause)}${error.stack}`).not.toContain(given.slice(-20));
  });
});

describe("generateApiKey", () => {
  test("makes keys that secret scanners find, each of its own", () => {
    const made = Array.from({ length: 200 }, generateApiKey);
    for (const { id, key } of made) {
      expect(key).toMatch(/^ptk_[a-z0-9]{12}_[A-Za-z0-9_-]{43}$/);
      expect(key.startsWith(`${apiKeyPrefix}${id}_`)).toBe(true);
    }
    expect(new Set(made.map(({ id }) => id)).size).toBe(200);
    expect(new Set(made.map(({ key }) => key.slice(17))).size).toBe(200);
  });

  test("makes keys that the verifier accepts, whatever their secret has inside", () => {
    const made = Array.from({ length: 200 }, generateApiKey);
    const keys = parseApiKeys(
      fileOf(...made.map(({ id, sha256 }) => ({ ...entry, id, sha256 }))),
      "keys.json",
    );
    const verify = createApiKeyVerifier(() => keys);
    expect(made.some(({ key }) => key.slice(17).includes("_"))).toBe(true);
    expect(made.map(({ key }) => verify(key).subject)).toEqual(made.map(({ id }) => id));
  });
});
