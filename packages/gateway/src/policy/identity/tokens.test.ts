import {
  type CryptoKey,
  exportJWK,
  exportSPKI,
  generateKeyPair,
  type JWK,
  type JWTHeaderParameters,
  type JWTPayload,
  SignJWT,
  UnsecuredJWT,
} from "jose";
import { describe, expect, test } from "vitest";
import { PublicError, StartError } from "../../errors.ts";
import { thrownBy } from "../../testing/call.ts";
import { serveHttp } from "../../testing/http.ts";
import { principalId } from "../principal.ts";
import { createIssuerKeys, type IssuerKeys } from "./issuer-keys.ts";
import { createTokenVerifier, type Issuer } from "./tokens.ts";

const name = "https://identity.acme.example";
const audience = "warehouse-api";
const keys = await generateKeyPair("RS256", { extractable: true });
const others = await generateKeyPair("RS256", { extractable: true });
const issuer: Issuer = {
  issuer: name,
  audience,
  claims: { subject: "sub", roles: "roles", tenant: "tenant" },
  keys: holding(keys.publicKey),
};
const verify = createTokenVerifier([issuer]);
const seconds = () => Math.floor(Date.now() / 1_000);

const notValid = { reason: "CREDENTIALS_INVALID", rawMessage: "The token is not valid." };
const expired = { reason: "CREDENTIALS_EXPIRED", rawMessage: "The token has expired." };
const notNow = { reason: "CREDENTIALS_UNVERIFIABLE" };

describe("lets in", () => {
  test("a valid token, with its subject, roles and tenant", async () => {
    const token = await sign({ roles: ["reader", "admin"], tenant: "acme" });
    expect(await verify(token)).toEqual({
      kind: "token",
      id: principalId("token", name, "ada"),
      subject: "ada",
      issuer: name,
      tenant: "acme",
      roles: ["reader", "admin"],
    });
  });

  test("nobody who could then be changed", async () => {
    const principal = await verify(await sign({ roles: ["reader"] }));
    expect([principal, principal.roles].every(Object.isFrozen)).toBe(true);
  });

  test.each<[string, unknown, string[]]>([
    ["one string", "reader admin ", ["reader", "admin"]],
    ["an empty string", "", []],
    ["a list with strangers in it", ["reader", 1, null, { a: 1 }, ["admin"], ""], ["reader"]],
    ["an object", { admin: true }, []],
    ["a number", 5, []],
    ["null", null, []],
    ["nothing", undefined, []],
    ["a list of too many", numbered(150), numbered(100)],
    ["a string of too many", numbered(150).join(" "), numbered(100)],
  ])("roles from %s", async (_, roles, expected) => {
    expect(await verify(await sign({ roles }))).toMatchObject({ roles: expected });
  });

  test("of roles, only those that the issuer may give", async () => {
    const limited = createTokenVerifier([{ ...issuer, roles: ["reader", "writer"] }]);
    expect((await limited(await sign({ roles: ["reader", "admin"] }))).roles).toEqual(["reader"]);
  });

  test.each<[unknown, string | undefined]>([
    ["acme", "acme"],
    ["", undefined],
    [null, undefined],
    [undefined, undefined],
  ])("a tenant that is %j", async (tenant, expected) => {
    expect((await verify(await sign({ tenant }))).tenant).toBe(expected);
  });

  test("a tenant only if the issuer has a claim for it", async () => {
    const without = createTokenVerifier([{ ...issuer, claims: { subject: "sub", roles: "roles" } }]);
    expect((await without(await sign({ tenant: "acme" }))).tenant).toBeUndefined();
  });

  test("a subject from another claim", async () => {
    const elsewhere = createTokenVerifier([{ ...issuer, claims: { subject: "client.id", roles: "roles" } }]);
    expect(await elsewhere(await sign({ client: { id: "robot" } }))).toMatchObject({
      subject: "robot",
      id: principalId("token", name, "robot"),
    });
    expect(await thrownBy(elsewhere(await sign({})))).toMatchObject(notValid);
  });

  test.each<[string, JWTPayload]>([
    ["https://acme.example/groups", { "https://acme.example/groups": ["reader"], roles: ["admin"] }],
    ["realm_access.roles", { realm_access: { roles: ["reader"] }, roles: ["admin"] }],
    ["realm_access.roles", { "realm_access.roles": ["reader"], realm_access: { roles: ["admin"] } }],
    ["a.b.c", { a: { b: { c: "reader" } } }],
  ])("roles from the claim %s of %j", async (roles, claims) => {
    expect(await rolesFrom(roles, claims)).toEqual(["reader"]);
  });

  test.each<[string, JWTPayload]>([
    ["__proto__", {}],
    ["constructor", {}],
    ["constructor.name", {}],
    ["roles.constructor.name", { roles: ["reader"] }],
    ["toString", {}],
    ["roles.length", { roles: ["reader"] }],
    ["roles.0", { roles: ["reader"] }],
    ["sub.0", {}],
    ["a.b", { a: null }],
    ["a..b", { a: { b: "reader" } }],
    ["", {}],
    ["constructor", { constructor: ["reader"] }],
    ["a.constructor", { a: { constructor: ["reader"] } }],
    ["__proto__", JSON.parse('{ "__proto__": ["reader"] }')],
    ["__proto__.roles", JSON.parse('{ "__proto__": { "roles": ["reader"] } }')],
  ])("nobody with roles from the claim %j of %j", async (roles, claims) => {
    expect(await rolesFrom(roles, claims)).toEqual([]);
  });

  test("an audience among several, on either side", async () => {
    const several = createTokenVerifier([{ ...issuer, audience: ["old-api", audience] }]);
    for (const aud of [audience, "old-api", ["other", audience]])
      expect(await several(await sign({ aud }))).toMatchObject({ subject: "ada" });
    expect(await thrownBy(several(await sign({ aud: ["other"] })))).toMatchObject(notValid);
  });

  test.each([undefined, "JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+JWT"])(
    "a token whose typ is %s",
    async (typ) => {
      const token = await sign({}, keys.privateKey, typ === undefined ? {} : { typ });
      expect(await verify(token)).toMatchObject({ subject: "ada" });
    },
  );

  test.each(["RS512", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"])("%s", async (alg) => {
    const pair = await generateKeyPair(alg);
    const token = await sign({}, pair.privateKey, { alg });
    const verify = createTokenVerifier([{ ...issuer, keys: holding(pair.publicKey) }]);
    expect(await verify(token)).toMatchObject({ subject: "ada" });
  });

  test("a subject of 256 characters, in any script", async () => {
    for (const sub of ["x".repeat(256), "Žofie 💡", "auth0|5f7c8ec7c33c6c004bbafe82"])
      expect(await verify(await sign({ sub }))).toMatchObject({ subject: sub });
  });

  test("a text that looks like a name twice, but is a value", async () => {
    const note = '{"sub":1,"sub":2} \\" sub:';
    const token = await sign({ note, list: ["sub", "sub", { sub: 1 }, { sub: 2 }], deep: { sub: "sub" } });
    expect(await verify(token)).toMatchObject({ subject: "ada" });
  });
});

describe("clocks", () => {
  // On the hour, so that whole seconds are exact.
  const time = Date.UTC(2026, 10, 1) / 1_000;
  const at = (change: JWTPayload) => sign({ exp: time + 600, ...change });
  const verify = createTokenVerifier([issuer], { now: () => time * 1_000 });

  test.each<[string, JWTPayload]>([
    ["exp is half a minute ago", { exp: time - 30 }],
    ["exp is almost a minute ago", { exp: time - 59 }],
    ["nbf is in half a minute", { nbf: time + 30 }],
    ["iat is in half a minute", { iat: time + 30 }],
    ["nbf and iat are in a minute", { nbf: time + 60, iat: time + 60 }],
    ["nbf and iat are long ago", { nbf: time - 86_400, iat: time - 86_400 }],
  ])("may differ: %s", async (_, change) => {
    expect(await verify(await at(change))).toMatchObject({ subject: "ada" });
  });

  test.each<[string, JWTPayload, object]>([
    ["exp is a minute ago", { exp: time - 60 }, expired],
    ["exp is five minutes ago", { exp: time - 300 }, expired],
    ["nbf is in more than a minute", { nbf: time + 61 }, notValid],
    ["nbf is in five minutes", { nbf: time + 300 }, notValid],
    ["iat is in more than a minute", { iat: time + 61 }, notValid],
    ["iat is in five minutes", { iat: time + 300 }, notValid],
  ])("may not differ more: %s", async (_, change, refusal) => {
    expect(await thrownBy(verify(await at(change)))).toMatchObject(refusal);
  });
});

describe("keeps out", () => {
  test.each<[string, Record<string, unknown>]>([
    ["another audience", { aud: "another" }],
    ["an audience that begins alike", { aud: `${audience}-2` }],
    ["no audience", { aud: undefined }],
    ["an empty audience", { aud: [] }],
    ["an audience that is no string", { aud: { [audience]: true } }],
    ["another issuer", { iss: "https://evil.example" }],
    ["an issuer with a slash more", { iss: `${name}/` }],
    ["an issuer in another case", { iss: name.toUpperCase() }],
    ["an issuer that is no string", { iss: [name] }],
    ["an issuer named like what every object has", { iss: "constructor" }],
    ["no issuer", { iss: undefined }],
    ["no expiry", { exp: undefined }],
    ["an expiry that is no number", { exp: "9999999999" }],
    ["a start that is no number", { nbf: "0" }],
    ["a time of issue that is no number", { iat: null }],
    ["no subject", { sub: undefined }],
    ["an empty subject", { sub: "" }],
    ["a subject that is no string", { sub: 5 }],
    ["a subject that is a list", { sub: ["ada"] }],
    ["a subject of 257 characters", { sub: "x".repeat(257) }],
    ["a subject with a line feed", { sub: "ada\neve" }],
    ["a subject with a zero", { sub: "ada\u0000" }],
    ["a subject with a control character of the second kind", { sub: "ada\u0085" }],
    ["a subject with half a character", { sub: "ada\ud83d" }],
    ["a tenant that is no string", { tenant: 5 }],
    ["a tenant with a line feed", { tenant: "acme\n" }],
  ])("%s", async (_, change) => {
    expect(await thrownBy(verify(await sign(change)))).toMatchObject(notValid);
  });

  test.each(["logout+jwt", "dpop+jwt", "secevent+jwt", "application/logout+jwt", "JOSE", "", 5, null])(
    "a token whose typ is %j",
    async (typ) => {
      const token = await sign({}, keys.privateKey, { typ: typ as string });
      expect(await thrownBy(verify(token))).toMatchObject(notValid);
    },
  );

  test("another key", async () => {
    expect(await thrownBy(verify(await sign({}, others.privateKey)))).toMatchObject(notValid);
  });

  test("a payload that was changed, even of a token that is remembered", async () => {
    const token = await sign({});
    await verify(token);
    const [header, , signature] = token.split(".");
    const changed = `${header}.${encode({ ...claims(), sub: "eve" })}.${signature}`;
    expect(await thrownBy(verify(changed))).toMatchObject(notValid);
  });

  test.each(["none", "None", "NONE", ""])("alg %j", async (alg) => {
    const [, payload] = new UnsecuredJWT(claims()).encode().split(".");
    for (const signature of ["", "AAAA", (await sign({})).split(".")[2]]) {
      const token = `${encode({ alg })}.${payload}.${signature}`;
      expect(await thrownBy(verify(token))).toMatchObject(notValid);
    }
  });

  test("a shared secret that is the public key", async () => {
    for (const secret of [
      await exportSPKI(keys.publicKey),
      JSON.stringify(await exportJWK(keys.publicKey)),
    ]) {
      const token = await new SignJWT(claims())
        .setProtectedHeader({ alg: "HS256" })
        .sign(Buffer.from(secret));
      expect(await thrownBy(verify(token))).toMatchObject(notValid);
    }
  });

  test("a shared secret, even if the issuer's keys had one", async () => {
    const secret = Buffer.from("a secret that is long enough for HS256");
    const token = await new SignJWT(claims()).setProtectedHeader({ alg: "HS256" }).sign(secret);
    const shared = createTokenVerifier([{ ...issuer, keys: { ...issuer.keys, find: async () => secret } }]);
    expect(await thrownBy(shared(token))).toMatchObject(notValid);
  });

  test("an algorithm that is not the key's", async () => {
    const pair = await generateKeyPair("ES256");
    expect(await thrownBy(verify(await sign({}, pair.privateKey, { alg: "ES256" })))).toMatchObject(notValid);
  });

  test("a header extension, known to jose or not", async () => {
    const unknown = await new SignJWT(claims())
      .setProtectedHeader({ alg: "RS256", crit: ["acme"], acme: true })
      .sign(keys.privateKey, { crit: { acme: true } });
    const known = await sign({}, keys.privateKey, { crit: ["b64"], b64: true });
    for (const token of [unknown, known]) expect(await thrownBy(verify(token))).toMatchObject(notValid);
  });

  test.each<[string, string]>([
    ["iss", `"iss":"https://evil.example",`],
    ["sub", `"sub":"eve",`],
    ["sub, written otherwise", `"s\\u0075b" : "eve",`],
    ["a name in a claim", `"deep":{"a":1,"b":[{}],"a":2},`],
    ["a name of what every object has", `"__proto__":1,"__proto__":2,`],
  ])("%s twice in a payload that is signed", async (_, more) => {
    const payload = `{${more}${JSON.stringify(claims()).slice(1)}`;
    expect(await thrownBy(verify(await signText(payload)))).toMatchObject(notValid);
  });

  test("a name twice in a header", async () => {
    const token = await signText(JSON.stringify(claims()), '{"alg":"none","alg":"RS256"}');
    expect(await thrownBy(verify(token))).toMatchObject(notValid);
  });

  test.each(["[]", '"text"', "null", "5", "{", "", "\ufeff", `{"exp":1e999,${claimsText()}`])(
    "%j as a payload that is signed",
    async (payload) => {
      expect(await thrownBy(verify(await signText(payload)))).toMatchObject(notValid);
    },
  );

  test("bytes that are no text as a payload that is signed", async () => {
    const payload = Buffer.concat([
      Buffer.from('{"a":"'),
      Buffer.from([0xff]),
      Buffer.from(`",${claimsText()}`),
    ]);
    expect(await thrownBy(verify(await signText(payload)))).toMatchObject(notValid);
  });

  test("more than 8 KiB, before any key is looked for", async () => {
    const token = await sign({ padding: "x".repeat(8 * 1024) });
    const error = await thrownBy(createTokenVerifier([{ ...issuer, keys: untouchable }])(token));
    expect(error).toMatchObject({
      ...notValid,
      cause: { message: `the token has ${token.length} bytes, more than 8192` },
    });
  });

  test.each(["", "a", "a.b", "a.b.c", "....", "a.b.c.d.e", "💥", "e30.e30.", "e30.e30.e30"])(
    "%j as a token",
    async (token) => {
      expect(await thrownBy(verify(token))).toMatchObject(notValid);
    },
  );

  test("a token that is written in another way", async () => {
    const token = await sign({});
    for (const written of [`${token} `, ` ${token}`, `${token}\n`, `${token}=`, token.replaceAll(".", ". ")])
      expect(await thrownBy(verify(written))).toMatchObject(notValid);
  });

  test("everyone, if there are no issuers", async () => {
    expect(await thrownBy(createTokenVerifier([])(await sign({})))).toMatchObject(notValid);
  });
});

describe("a refusal", () => {
  test("has words of the gateway alone, and the header that RFC 6750 asks for", async () => {
    for (const change of [{ aud: "another" }, { exp: seconds() - 120 }]) {
      const error = await thrownBy(verify(await sign(change)));
      expect(error).toBeInstanceOf(PublicError);
      expect((error as PublicError).metadata.get("www-authenticate")).toBe("Bearer");
      expect((error as PublicError).cause).toMatchObject({
        message: expect.stringMatching(/"(aud|exp)" claim|claim/),
      });
    }
  });

  test("carries nothing of the token, not even to the log", async () => {
    const canary = "canary";
    const crit = { alg: "RS256", crit: [canary], [canary]: true };
    const tokens = [
      await sign({ canary, aud: canary }),
      await sign({ canary, exp: 1 }),
      await sign({ canary, iss: canary }),
      await sign({ canary, sub: `${canary}\n` }),
      await sign({ canary }, others.privateKey),
      await sign({ canary }, keys.privateKey, { kid: canary, typ: canary }),
      await new SignJWT(claims())
        .setProtectedHeader(crit)
        .sign(keys.privateKey, { crit: { [canary]: true } }),
      `${encode({ alg: canary })}.${encode({ ...claims(), canary })}.AAAA`,
      `${encode({ alg: "RS256" })}.${Buffer.from(`{"${canary}`).toString("base64url")}.AAAA`,
      canary,
    ];
    for (const token of tokens) {
      const error = await thrownBy(verify(token));
      const said = everythingIn(error);
      expect(said).toContain("The token");
      expect(said).not.toContain(canary);
      for (const part of token.split(".")) expect(said).not.toContain(part);
    }
  });
});

describe("of several issuers", () => {
  const partner: Issuer = {
    issuer: "https://partner.example",
    audience: "partner-api",
    claims: { subject: "sub", roles: "groups" },
    keys: holding(others.publicKey),
  };
  const both = createTokenVerifier([issuer, partner]);
  const ofPartner = { iss: partner.issuer, aud: "partner-api" };

  test("each is read by its own rules", async () => {
    const facts = { roles: ["reader"], groups: ["guest"], tenant: "acme" };
    expect(await both(await sign(facts))).toMatchObject({ issuer: name, roles: ["reader"], tenant: "acme" });
    expect(await both(await sign({ ...facts, ...ofPartner }, others.privateKey))).toMatchObject({
      issuer: partner.issuer,
      roles: ["guest"],
      tenant: undefined,
    });
  });

  test("one with the same subject is somebody else", async () => {
    const [ours, theirs] = [await both(await sign({})), await both(await sign(ofPartner, others.privateKey))];
    expect(ours.subject).toBe(theirs.subject);
    expect(ours.id).not.toBe(theirs.id);
  });

  test.each<[string, JWTPayload, CryptoKey]>([
    ["the key of the other", {}, others.privateKey],
    ["our key for the other", ofPartner, keys.privateKey],
    ["the audience of the other", { aud: "partner-api" }, keys.privateKey],
    ["our audience for the other", { ...ofPartner, aud: audience }, others.privateKey],
  ])("none may use %s", async (_, change, key) => {
    expect(await thrownBy(both(await sign(change, key)))).toMatchObject(notValid);
  });

  test("only the keys of the one that the token names are asked", async () => {
    const verify = createTokenVerifier([issuer, { ...partner, keys: untouchable }]);
    expect(await verify(await sign({}))).toMatchObject({ issuer: name });
  });

  test.each<[string, Issuer[], string]>([
    ["one twice", [issuer, { ...issuer, audience: "other" }], `"${name}" is listed twice`],
    ["one without an audience", [{ ...issuer, audience: [] }], "has no audience"],
    ["one with an empty audience", [{ ...issuer, audience: "" }], "has no audience"],
    ["one with an empty audience among others", [{ ...issuer, audience: ["a", ""] }], "has no audience"],
    ["one without a name", [{ ...issuer, issuer: "" }], "one has no name"],
  ])("the gateway does not start with %s", async (_, issuers, problem) => {
    const error = await thrownBy(() => createTokenVerifier(issuers));
    expect(error).toBeInstanceOf(StartError);
    expect((error as StartError).problems).toEqual([expect.stringContaining(problem)]);
  });
});

describe("a verified token is remembered", () => {
  /** Keys whose look-ups are counted, and whose epoch the test sets. */
  function counted() {
    const state = { found: 0, epoch: 1, key: keys.publicKey };
    const find = async () => {
      state.found += 1;
      return state.key;
    };
    return { state, keys: { ...issuer.keys, find, epoch: () => state.epoch } };
  }

  test("as the same object", async () => {
    const { state, keys } = counted();
    const verify = createTokenVerifier([{ ...issuer, keys }]);
    const token = await sign({});
    const principal = await verify(token);
    expect(await verify(token)).toBe(principal);
    expect(state.found).toBe(1);
    expect(await verify(await sign({ jti: "another" }))).not.toBe(principal);
  });

  test("as the same object even for calls at the same time", async () => {
    const token = await sign({});
    const verify = createTokenVerifier([issuer]);
    const principals = await Promise.all([1, 2, 3].map(() => verify(token)));
    expect(new Set([...principals, await verify(token)]).size).toBe(1);
  });

  test("until it expires, with the leeway", async () => {
    let time = Date.UTC(2026, 10, 1);
    const { state, keys } = counted();
    const verify = createTokenVerifier([{ ...issuer, keys }], { now: () => time });
    const token = await sign({ exp: time / 1_000 + 600 });
    const principal = await verify(token);
    time += 659_999;
    expect(await verify(token)).toBe(principal);
    expect(state.found).toBe(1);
    time += 1;
    expect(await thrownBy(verify(token))).toMatchObject(expired);
  });

  test("until the keys change", async () => {
    const { state, keys } = counted();
    const verify = createTokenVerifier([{ ...issuer, keys }]);
    const token = await sign({});
    const principal = await verify(token);
    state.epoch = 2;
    expect(await verify(token)).toEqual(principal);
    expect(state.found).toBe(2);
    state.epoch = 3;
    state.key = others.publicKey;
    expect(await thrownBy(verify(token))).toMatchObject(notValid);
  });

  test("not for keys that changed while they were asked", async () => {
    const { state, keys } = counted();
    const find = async () => {
      const key = await keys.find();
      if (state.found > 1) return key;
      // The issuer took the key back, just after it was found.
      state.epoch = 2;
      state.key = others.publicKey;
      return key;
    };
    const verify = createTokenVerifier([{ ...issuer, keys: { ...keys, find } }]);
    expect(await thrownBy(verify(await sign({})))).toMatchObject(notValid);
    expect(state.found).toBe(2);
  });

  test("but a refused one is not", async () => {
    const { state, keys } = counted();
    const verify = createTokenVerifier([{ ...issuer, keys }]);
    const token = await sign({}, others.privateKey);
    for (let call = 0; call < 3; call += 1) expect(await thrownBy(verify(token))).toMatchObject(notValid);
    expect(state.found).toBe(3);
    state.epoch = 2;
    state.key = others.publicKey;
    expect(await verify(token)).toMatchObject({ subject: "ada" });
  });

  test("among no more than so many", async () => {
    const { state, keys } = counted();
    const verify = createTokenVerifier([{ ...issuer, keys }], { cacheSize: 2 });
    const tokens = await Promise.all(["1", "2", "3"].map((jti) => sign({ jti })));
    for (const token of tokens) await verify(token);
    for (const token of tokens.slice(1)) await verify(token);
    expect(state.found).toBe(3);
    await verify(tokens[0] ?? "");
    expect(state.found).toBe(4);
  });
});

describe("with the keys of a real issuer", () => {
  const jwk = async (key: CryptoKey, kid: string): Promise<JWK> => ({ ...(await exportJWK(key)), kid });
  const kid = { kid: "1" };

  /** An issuer whose server answers with these keys; `undefined` is a server that is down. */
  async function setUp(first: JWK[] | undefined) {
    const clock = { ms: Date.UTC(2026, 10, 1) };
    const site = { keys: first, asked: 0 };
    const url = await serveHttp((_request, response) => {
      site.asked += 1;
      if (site.keys === undefined) response.writeHead(503).end();
      else response.end(JSON.stringify({ keys: site.keys }));
    });
    const now = () => clock.ms;
    const keys = createIssuerKeys({ issuer: name, jwksUrl: `${url}/keys`, now });
    const sign1 = (change: JWTPayload, header: Partial<JWTHeaderParameters>, key?: CryptoKey) =>
      sign({ exp: clock.ms / 1_000 + 86_400, ...change }, key, header);
    return { clock, site, sign: sign1, keys, verify: createTokenVerifier([{ ...issuer, keys }], { now }) };
  }

  test("a token is verified, also without a key id", async () => {
    const { verify, sign, site } = await setUp([await jwk(keys.publicKey, "1")]);
    expect(await verify(await sign({}, kid))).toMatchObject({ subject: "ada" });
    expect(await verify(await sign({}, {}))).toMatchObject({ subject: "ada" });
    expect(site.asked).toBe(1);
  });

  test("the first call is remembered by the keys that it fetched", async () => {
    const { verify, sign } = await setUp([await jwk(keys.publicKey, "1")]);
    const token = await sign({}, kid);
    const principal = await verify(token);
    expect(await verify(token)).toBe(principal);
  });

  test("a token without a key id is refused if several keys fit", async () => {
    const { verify, sign } = await setUp([await jwk(keys.publicKey, "1"), await jwk(others.publicKey, "2")]);
    expect(await thrownBy(verify(await sign({}, {})))).toMatchObject(notValid);
    expect(await verify(await sign({}, kid))).toMatchObject({ subject: "ada" });
  });

  test("a key for encryption, or for another algorithm, verifies nothing", async () => {
    const key = await jwk(keys.publicKey, "1");
    for (const change of [{ use: "enc" }, { alg: "RS512" }]) {
      const { verify, sign } = await setUp([{ ...key, ...change }]);
      expect(await thrownBy(verify(await sign({}, kid)))).toMatchObject(notValid);
    }
  });

  test("an issuer that is down is not the caller's fault, and is asked again", async () => {
    const { verify, sign, site, clock } = await setUp(undefined);
    const token = await sign({}, kid);
    const error = await thrownBy(verify(token));
    expect(error).toMatchObject(notNow);
    expect((error as PublicError).cause).toBeInstanceOf(Error);
    expect((error as PublicError).metadata.has("www-authenticate")).toBe(false);
    site.keys = [await jwk(keys.publicKey, "1")];
    clock.ms += 1_000;
    expect(await verify(token)).toMatchObject({ subject: "ada" });
  });

  test("a remembered token is good for an hour after the issuer went down, and no longer", async () => {
    const { verify, sign, site, clock, keys: issuerKeys } = await setUp([await jwk(keys.publicKey, "1")]);
    const token = await sign({}, kid);
    const principal = await verify(token);
    site.keys = undefined;
    clock.ms += 3_599_999;
    expect(await verify(token)).toBe(principal);
    // Joins the fetch that the call above began, so that nothing is in flight.
    await issuerKeys.warm();
    clock.ms += 1;
    expect(await thrownBy(verify(token))).toMatchObject(notNow);
    clock.ms += 30_000;
    site.keys = [await jwk(keys.publicKey, "1")];
    expect(await verify(token)).toEqual(principal);
  });

  test("a rotated key is seen within 30 seconds, and tokens of the old one end with it", async () => {
    const { verify, sign, site, clock } = await setUp([await jwk(keys.publicKey, "1")]);
    const [old, renewed] = [await sign({}, kid), await sign({}, { kid: "2" }, others.privateKey)];
    await verify(old);
    site.keys = [await jwk(others.publicKey, "2")];
    expect(await thrownBy(verify(renewed))).toMatchObject(notValid);
    clock.ms += 30_000;
    expect(await verify(renewed)).toMatchObject({ subject: "ada" });
    expect(await thrownBy(verify(old))).toMatchObject(notValid);
    expect(site.asked).toBe(2);
  });

  test("10,000 tokens with random key ids make two fetches a minute, while others are let in", async () => {
    const { verify, sign, site, clock } = await setUp([await jwk(keys.publicKey, "1")]);
    const good = await sign({}, kid);
    await verify(good);
    clock.ms += 30_000;
    const asked = site.asked;
    const payload = encode({ ...claims(), exp: clock.ms / 1_000 + 600 });
    for (let batch = 0; batch < 100; batch += 1) {
      const tokens = Array.from({ length: 100 }, (_, index) => {
        return `${encode({ alg: "RS256", kid: `${batch}-${index}` })}.${payload}.AAAA`;
      });
      for (const error of await Promise.all(tokens.map((token) => thrownBy(verify(token)))))
        expect(error).toMatchObject(notValid);
      expect(await verify(good)).toMatchObject({ subject: "ada" });
      clock.ms += 600;
    }
    expect(site.asked - asked).toBe(2);
  });

  test("what no issuer would send does not even make it fetch", async () => {
    const { verify, sign, site, clock } = await setUp([await jwk(keys.publicKey, "1")]);
    await verify(await sign({}, kid));
    clock.ms += 60_000;
    const tokens = [
      await sign({}, { kid: 5 as unknown as string }),
      await sign({ iss: "https://evil.example" }, { kid: "2" }),
      `${encode({ alg: "none", kid: "2" })}.${encode(claims())}.AAAA`,
      `${encode({ alg: "HS256", kid: "2" })}.${encode(claims())}.AAAA`,
    ];
    for (const token of tokens) expect(await thrownBy(verify(token))).toMatchObject(notValid);
    expect(site.asked).toBe(1);
  });

  test.each([
    ["a path", "../../../etc/passwd"],
    ["a file that is empty", "/dev/null"],
    ["SQL", "1' UNION SELECT 'secret' --"],
    ["a command", "1 | id"],
    ["what every object has", "__proto__"],
    ["very long", "1".repeat(5_000)],
    ["empty", ""],
  ])("a key id that is %s finds nothing", async (_, kid) => {
    const { verify, sign } = await setUp([await jwk(keys.publicKey, "1")]);
    expect(await thrownBy(verify(await sign({}, { kid })))).toMatchObject(notValid);
  });

  test("a key that the token brings along, or the address of one, is ignored", async () => {
    const evil = await jwk(others.publicKey, "evil");
    let asked = 0;
    const url = await serveHttp((_request, response) => {
      asked += 1;
      response.end(JSON.stringify({ keys: [evil] }));
    });
    const { verify, sign } = await setUp([await jwk(keys.publicKey, "1")]);
    const x5c = ["MIIBszCCAVmgAwIBAgIUQ"];
    for (const brought of [{ jwk: evil }, { jku: url }, { x5u: url }, { x5c }, { jwk: evil, jku: url }]) {
      for (const kid of [{}, { kid: "1" }, { kid: "evil" }])
        expect(
          await thrownBy(verify(await sign({}, { ...brought, ...kid }, others.privateKey))),
        ).toMatchObject(notValid);
      // Nor does it harm a token that needs none of it.
      expect(await verify(await sign({}, { ...brought, kid: "1" }))).toMatchObject({ subject: "ada" });
    }
    expect(asked).toBe(0);
  });
});

test("whatever goes wrong with finding a key is not the caller's fault", async () => {
  const cause = new TypeError("no key today");
  const broken = { ...issuer.keys, find: () => Promise.reject(cause) };
  const verify = createTokenVerifier([{ ...issuer, keys: broken }]);
  expect(await thrownBy(verify(await sign({})))).toMatchObject({ ...notNow, cause });
});

function claims(): JWTPayload {
  return { iss: name, aud: audience, sub: "ada", exp: seconds() + 600 };
}

/** The claims but `exp`, to go behind something else in an object. */
function claimsText(): string {
  return JSON.stringify({ ...claims(), exp: undefined }).slice(1);
}

function sign(
  change: Record<string, unknown>,
  key: CryptoKey = keys.privateKey,
  header: Partial<JWTHeaderParameters> = {},
): Promise<string> {
  const signer = new SignJWT({ ...claims(), ...change }).setProtectedHeader({ alg: "RS256", ...header });
  return signer.sign(key);
}

/** Signs any bytes, as no library would. */
async function signText(payload: string | Uint8Array, header = '{"alg":"RS256"}'): Promise<string> {
  const signed = [header, payload].map((part) => Buffer.from(part as string).toString("base64url")).join(".");
  const algorithm = { name: "RSASSA-PKCS1-v1_5" };
  const signature = await crypto.subtle.sign(algorithm, keys.privateKey, Buffer.from(signed));
  return `${signed}.${Buffer.from(signature).toString("base64url")}`;
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `r${index}`);
}

async function rolesFrom(roles: string, change: JWTPayload): Promise<readonly string[]> {
  const verify = createTokenVerifier([{ ...issuer, claims: { subject: "sub", roles } }]);
  // Not by jose, which would lose a claim named __proto__.
  const merged = JSON.stringify(change).replace(/\}$/, Object.keys(change).length > 0 ? "," : "");
  const text = `${merged}${JSON.stringify({ ...claims(), ...omitted(change) }).slice(1)}`;
  return (await verify(await signText(text))).roles;
}

/** Undefined for each name, so that the claims of the test are there once. */
function omitted(change: JWTPayload): JWTPayload {
  return Object.fromEntries(Object.keys(change).map((name) => [name, undefined]));
}

function holding(key: CryptoKey): IssuerKeys {
  return { find: async () => key, epoch: () => 1, warm: async () => {} };
}

const untouchable: IssuerKeys = {
  find: () => {
    throw new Error("was looked for");
  },
  epoch: () => {
    throw new Error("was asked");
  },
  warm: async () => {},
};

/** All texts of an error and its causes, and whatever else hangs on them. */
function everythingIn(error: unknown): string {
  if (!(error instanceof Error)) return JSON.stringify(error) ?? "";
  const parts = Object.getOwnPropertyNames(error).map((name) => {
    const value: unknown = Reflect.get(error, name);
    return value instanceof Headers ? JSON.stringify([...value]) : everythingIn(value);
  });
  return [error.message, error.stack, ...parts].join("\n");
}
