import { create, type DescMethod, type Message } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import type { Call } from "../call.ts";
import { createKeptBytes } from "../kept-bytes.ts";
import { createMethodTable, entryOf } from "../policy/method-table.ts";
import { anonymous, type Principal } from "../policy/principal.ts";
import { service } from "../service.ts";
import { testCall } from "../testing/call.ts";
import { authenticated } from "../testing/principals.ts";
import { policy } from "../testing/protos.ts";
import { createAnswerCache } from "./answer-cache.ts";
import { createCachedAnswers } from "./cached-answers.ts";

const { forAll, forTenant, forOne } = policy.SharedService.method;
const methods = createMethodTable([
  service(policy.SharedService, { forAll: () => ({}), forTenant: () => ({}), forOne: () => ({}) }),
]);
const rights = (key: string) => ({ has: () => false, key, audience: "public" as const });
const of = (tenant: string | undefined, subject: string): Principal => ({
  ...authenticated(subject),
  tenant,
});

/** Calls methods whose handler answers with all that it learns of its caller. */
function start(maxBytes = 2 ** 20) {
  const runs: Call[] = [];
  const kept = maxBytes === 0 ? undefined : createKeptBytes({ maxBytes, namespace: "test" });
  const cached = createCachedAnswers(kept && createAnswerCache({ kept }), 1_000);
  const ask = async (method: DescMethod, principal: Principal, parts: Partial<Call> = {}) => {
    const call = testCall({ method, principal, rights: rights("same"), ...parts });
    const request = create(method.input) as Message;
    const { message } = await cached(entryOf(methods, method), request, call, async (call) => {
      runs.push(call);
      const seen = JSON.stringify(call.principal);
      return { message: create(method.output, { seen } as never) as Message, partial: undefined };
    });
    const { seen }: { seen?: unknown } = message as Message & { seen?: unknown };
    return { seen: JSON.parse(String(seen)), from: call.record.answer };
  };
  return { ask, runs };
}

describe("an answer for all", () => {
  test("is made for nobody in particular, and given to everyone of the same rights", async () => {
    const { ask, runs } = start();
    expect(await ask(forAll, of("acme", "ada"))).toEqual({ seen: anonymous, from: "run" });
    expect(await ask(forAll, of("other", "bob"))).toEqual({ seen: anonymous, from: "cache" });
    expect(runs).toHaveLength(1);
  });

  test("is another one for callers of other rights", async () => {
    const { ask, runs } = start();
    await ask(forAll, of("acme", "ada"));
    expect(await ask(forAll, of("acme", "ada"), { rights: rights("more") })).toMatchObject({ from: "run" });
    expect(runs).toHaveLength(2);
  });
});

describe("an answer for a tenant", () => {
  test("is made for the tenant: neither subject nor roles of who asked first are known", async () => {
    const { ask } = start();
    const { seen } = await ask(forTenant, of("acme", "ada"));
    expect(seen).toMatchObject({
      kind: "tenant",
      tenant: "acme",
      issuer: "https://id.example.com",
      roles: [],
    });
    expect(JSON.stringify(seen)).not.toContain("ada");
    expect(await ask(forTenant, of("acme", "bob"))).toEqual({ seen, from: "cache" });
  });

  test("is made without a record of who asked first, and from where; what it costs is in that record", async () => {
    const { ask, runs } = start();
    const { record } = testCall();
    record.caller = "ada";
    for (const method of [forAll, forTenant]) await ask(method, of("acme", "ada"), { record });
    for (const run of runs) {
      expect(JSON.stringify(run.record)).not.toMatch(/ada|127\.0\.0\.1/);
      expect(run.record.upstreamCalls).toBe(record.upstreamCalls);
    }
    expect(runs).toHaveLength(2);
  });

  test("is not given to another tenant, and nobody without one shares it", async () => {
    const { ask, runs } = start();
    await ask(forTenant, of("acme", "ada"));
    expect((await ask(forTenant, of("other", "ada"))).seen).toMatchObject({ tenant: "other" });
    // What cannot be shared is made for who asks.
    expect((await ask(forTenant, of(undefined, "eve"))).seen).toMatchObject({ subject: "eve" });
    expect((await ask(forTenant, of(undefined, "eve"))).seen).toMatchObject({ subject: "eve" });
    expect(await ask(forTenant, anonymous)).toEqual({ seen: anonymous, from: undefined });
    expect(runs).toHaveLength(5);
  });
});

describe("an answer for one", () => {
  test("is made for who asks, and given to nobody else", async () => {
    const { ask } = start();
    expect((await ask(forOne, of("acme", "ada"))).seen).toMatchObject({ subject: "ada" });
    expect((await ask(forOne, of("acme", "bob"))).seen).toMatchObject({ subject: "bob" });
    expect(await ask(forOne, of("acme", "ada"))).toMatchObject({ seen: { subject: "ada" }, from: "cache" });
  });

  test("is made within the time and the loaders of its own run, not of the call that asked first", async () => {
    const { ask, runs } = start();
    const call = { remainingMs: () => 1, signal: new AbortController().signal };
    await ask(forOne, of("acme", "ada"), call);
    const [run] = runs;
    expect(run?.remainingMs()).toBeGreaterThan(1_000);
    expect(run?.signal).not.toBe(call.signal);
  });
});

test("without a cache, every call has its handler run for itself", async () => {
  const { ask, runs } = start(0);
  await ask(forAll, of("acme", "ada"));
  expect(await ask(forAll, of("acme", "ada"))).toMatchObject({ seen: { subject: "ada" }, from: undefined });
  expect(runs).toHaveLength(2);
});
