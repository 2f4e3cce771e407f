import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { figure } from "../harness/figures.ts";
import { startGateway } from "../harness/gateway-process.ts";
import { startLoad, summarize } from "../harness/load.ts";
import { scaled } from "../harness/settings.ts";
import { startUpstreams } from "../harness/upstream-process.ts";
import { causes, codeOf, inWords, patientMs, steady, unhurried, userCall } from "./calls.ts";
import { environmentOf, type IssuerMood, startTroubledIssuer } from "./troubled-issuer.ts";

test("B8 an issuer in trouble, and tokens with keys that nobody has", async () => {
  await using upstreams = await startUpstreams({ users: 20, orders: 20, items: 20 });
  await using issuer = await startTroubledIssuer();
  await using gateway = await startGateway(upstreams.urls, { ...unhurried, ...environmentOf(issuer) });
  const { url } = gateway;
  const known = issuer.token();
  await expect.poll(() => codeOf(url, userCall("grpc", known, patientMs)), { timeout: 10_000 }).toBe("ok");
  const startedAt = performance.now();
  const load = startLoad({ url, requests: [userCall("grpc", known, patientMs)], ...steady });

  const forged = scaled(10_000, 200);
  const byKid = await sendUnknownKeys(url, issuer.token, forged);
  const fetches = issuer.fetches();
  const minutes = Math.max(1, (performance.now() - startedAt) / 60_000);

  // The issuer has another key: found once it is time to look again.
  issuer.rotate();
  const rotatedAt = performance.now();
  const renewed = issuer.token();
  const beside = issuer.fetches();
  await expect
    .poll(() => codeOf(url, userCall("grpc", renewed, patientMs)), { timeout: 60_000, interval: 100 })
    .toBe("ok");
  const rotationMs = performance.now() - rotatedAt;
  const whole = summarize(await load.stop(), { to: Date.now() - rotationMs });
  figure({
    id: "B8",
    test: `${forged} tokens with random kid, then a new key`,
    expected: "known keys keep working; <= 2 fetches a minute; rotation <= 30 s",
    measured:
      `${JSON.stringify(byKid)}; ${fetches} fetches; the new key works after ${(rotationMs / 1_000).toFixed(1)} s and ` +
      `${issuer.fetches() - beside} more; known: ${inWords(whole)}`,
    reached: fetches / minutes <= 3 && rotationMs <= 31_000 && whole.failed === 0,
  });
  expect(Object.keys(byKid)).toEqual(["unauthenticated"]);
  // The first is that of the start, which no token can bring about.
  expect(fetches).toBeLessThanOrEqual(1 + 2 * Math.ceil(minutes));
  expect(whole.codes, JSON.stringify(causes(gateway))).toEqual({ ok: whole.count });

  expect(gateway.crashes()).toEqual([]);
});

test.concurrent.each(["down", "slow", "malformed"] satisfies IssuerMood[])(
  "B8 an issuer that is %s",
  async (mood) => {
    await using upstreams = await startUpstreams({ users: 20, orders: 20, items: 20 });
    await using issuer = await startTroubledIssuer();
    await using gateway = await startGateway(upstreams.urls, { ...unhurried, ...environmentOf(issuer) });
    const { url } = gateway;
    const known = userCall("grpc", issuer.token(), patientMs);
    await expect.poll(() => codeOf(url, known), { timeout: 10_000 }).toBe("ok");
    issuer.behave(mood);
    const before = issuer.fetches();
    const startedAt = performance.now();
    const load = startLoad({ url, requests: [known], ...steady });
    const codes: Record<string, number> = {};
    // The keys are looked for again when a token names one that is not known, and it is time.
    while (issuer.fetches() === before && performance.now() - startedAt < 60_000) {
      for (const [code, count] of Object.entries(await sendUnknownKeys(url, issuer.token, 10)))
        codes[code] = (codes[code] ?? 0) + count;
      await delay(200);
    }
    await delay(500);
    const seen = summarize(await load.stop());
    const fetches = issuer.fetches() - before;
    const minutes = Math.max(1, (performance.now() - startedAt) / 60_000);
    figure({
      id: "B8",
      test: `an issuer that is ${mood}`,
      expected: "known keys keep working; <= 2 fetches a minute",
      measured: `known: ${inWords(seen)}; unknown: ${JSON.stringify(codes)}, ${fetches} fetches`,
      reached: seen.failed === 0 && fetches / minutes <= 2,
    });
    expect(fetches).toBeGreaterThan(0);
    expect(fetches).toBeLessThanOrEqual(2 * Math.ceil(minutes));
    expect(seen.codes, JSON.stringify(causes(gateway))).toEqual({ ok: seen.count });
    expect(codes["ok"]).toBeUndefined();
    expect(gateway.crashes()).toEqual([]);
  },
);

test("B9 a clock that goes wrong by seconds is no matter, one by minutes is", async () => {
  await using upstreams = await startUpstreams({ users: 20, orders: 20, items: 20 });
  await using issuer = await startTroubledIssuer();
  await using gateway = await startGateway(upstreams.urls, { ...unhurried, ...environmentOf(issuer) });
  const now = Math.floor(Date.now() / 1_000);
  // The clock of who made a token is ahead of the gateway's by so much, or behind it.
  const tokens = (seconds: number) => ({
    "iat ahead": { iat: now + seconds, exp: now + 3_600 },
    "nbf ahead": { iat: now, nbf: now + seconds, exp: now + 3_600 },
    "exp behind": { iat: now - 3_600, exp: now - seconds },
  });
  const seen: Record<string, string> = {};
  for (const seconds of [30, 300])
    for (const [what, claims] of Object.entries(tokens(seconds)))
      seen[`${what} by ${seconds} s`] = await codeOf(
        gateway.url,
        userCall("h1-json", issuer.token({ ...claims, jti: randomUUID() }), patientMs),
      );
  const wanted = {
    "iat ahead by 30 s": "ok",
    "nbf ahead by 30 s": "ok",
    "exp behind by 30 s": "ok",
    "iat ahead by 300 s": "unauthenticated",
    "nbf ahead by 300 s": "unauthenticated",
    "exp behind by 300 s": "unauthenticated",
  };
  const wrong = Object.entries(wanted).filter(([what, code]) => seen[what] !== code);
  figure({
    id: "B9",
    test: "clock skew of +-30 s and +-5 min, in iat, nbf and exp",
    expected: "accepted; refused",
    measured: wrong.length === 0 ? "as expected, 6 of 6" : JSON.stringify(Object.fromEntries(wrong)),
    reached: wrong.length === 0,
  });
  expect(seen).toEqual(wanted);
});

/** Calls with tokens that are right but for the key that they name, each another one. */
async function sendUnknownKeys(
  url: string,
  token: () => string,
  calls: number,
): Promise<Readonly<Record<string, number>>> {
  const one = token();
  const [, ...rest] = one.split(".");
  // What the signature is of does not matter: the key is looked for before.
  const named = () => Buffer.from(JSON.stringify({ alg: "RS256", kid: randomUUID() })).toString("base64url");
  const requests = Array.from({ length: calls }, () =>
    userCall("h1-json", [named(), ...rest].join("."), patientMs),
  );
  const load = startLoad({ url, requests, calls, connections: 20, pace: { callers: 20 } });
  return summarize(await load.done).codes;
}
