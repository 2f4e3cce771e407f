import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { gunzipSync } from "node:zlib";
import { getExtension, setExtension } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";
import type { PublicService } from "@portico/gateway";
import { chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { method as methodPolicy } from "../packages/gateway/src/gen/portico/v1/policy_pb.ts";
import { rebuilt } from "../packages/gateway/src/testing/rebuilt.ts";
import { overH2 } from "./exchange.ts";
import { type Gazette, pathOf, startGazette } from "./gazette.ts";
import { GazetteService } from "./gen/acme/api/gazette/v1/gazette_service_pb.ts";
import { findProgram, isMissing } from "./program.ts";
import { rawCall } from "./raw-call.ts";
import { noRedis, startRedis } from "./redis.ts";

// What browsers and caches on the way may keep of an answer, and how they ask whether it still holds.

const origin = "https://app.example.com";
let gazette: Gazette;
beforeAll(async () => {
  gazette = await startGazette({
    env: {
      GZIP_MIN_BYTES: "1024",
      CORS_ORIGINS: origin,
      RATE_LIMIT_ANONYMOUS: "100000/1h",
      RATE_LIMIT_AUTHENTICATED: "100000/1h",
    },
  });
});
afterAll(() => gazette[Symbol.asyncDispose]());

const bearer = async (role: "viewer" | "customer", subject: string = role) => ({
  authorization: `Bearer ${await gazette.system.token(role, subject)}`,
});
const tagOf = ({ headers }: { readonly headers: Readonly<Record<string, string>> }) =>
  headers["etag"] ?? "no tag";

describe("an answer that is the same for everyone", () => {
  test("may be kept by everyone for as long as it is fresh, and has a tag", async () => {
    const { status, headers } = await gazette.get("ReadIssue", { name: "fresh" });
    expect(status).toBe(200);
    expect(headers["etag"]).toMatch(/^W\/"[\w-]{22}"$/);
    expect(headers["vary"]).toMatch(/accept-encoding, authorization, x-api-key$/);
    const [, maxAge, stale] =
      /^public, max-age=(\d+), stale-while-revalidate=(\d+)$/.exec(headers["cache-control"] ?? "") ?? [];
    expect(Number(maxAge)).toBeGreaterThan(500);
    expect(Number(maxAge)).toBeLessThan(600);
    expect(stale).toBe("300");
  });

  test("is not sent again to who has it: 304, with all that is not about the body", async () => {
    const first = await gazette.get("ReadIssue", { name: "again" }, { origin });
    const runs = gazette.runs();
    const second = await gazette.get(
      "ReadIssue",
      { name: "again" },
      { origin, "if-none-match": `"other", ${tagOf(first)}`, "x-request-id": "known-1" },
    );
    expect(second.status).toBe(304);
    expect(second.body.byteLength).toBe(0);
    const { date: _, ...headers } = second.headers;
    expect(headers).toEqual({
      etag: first.headers["etag"],
      "cache-control": expect.stringMatching(/^public, max-age=5\d\d, stale-while-revalidate=300$/),
      vary: "Origin, accept-encoding, authorization, x-api-key",
      "x-request-id": "known-1",
      "access-control-allow-origin": origin,
      "access-control-expose-headers": first.headers["access-control-expose-headers"],
      ratelimit: expect.any(String),
      "ratelimit-policy": expect.any(String),
      connection: expect.any(String),
    });
    expect(headers["access-control-expose-headers"]).toMatch(/(^|[ ,])etag(,|$)/i);
    expect(gazette.runs()).toBe(runs);
    expect(await gazette.system.logOf("known-1")).toMatchObject({ status: 304, code: "ok", answer: "cache" });
  });

  test("over HTTP/2 as well", async () => {
    const path = pathOf("ReadIssue", { name: "h2" });
    const first = await overH2(gazette.system.url, { method: "GET", path });
    const headers = { "if-none-match": tagOf(first) };
    const second = await overH2(gazette.system.url, { method: "GET", path, headers });
    expect([first.status, second.status]).toEqual([200, 304]);
    expect(second.body.byteLength).toBe(0);
  });

  test("has one tag, compressed or not", async () => {
    const name = "long ".repeat(1_000);
    const plain = await gazette.get("ReadIssue", { name });
    const zipped = await gazette.get("ReadIssue", { name }, { "accept-encoding": "gzip" });
    expect(zipped.headers["content-encoding"]).toBe("gzip");
    expect(gunzipSync(zipped.body)).toEqual(plain.body);
    expect(tagOf(zipped)).toBe(tagOf(plain));
    for (const encoding of [{}, { "accept-encoding": "gzip" }]) {
      const known = await gazette.get("ReadIssue", { name }, { ...encoding, "if-none-match": tagOf(zipped) });
      expect([known.status, known.headers["content-encoding"]]).toEqual([304, undefined]);
    }
  });

  test("has another tag in another format", async () => {
    const json = await gazette.get("ReadIssue");
    const proto = await overH2(gazette.system.url, {
      method: "GET",
      path: `/${GazetteService.typeName}/ReadIssue?encoding=proto&message=`,
    });
    expect([json.status, proto.status]).toEqual([200, 200]);
    expect(tagOf(proto)).toMatch(/^W\//);
    expect(tagOf(proto)).not.toBe(tagOf(json));
  });

  test("says nothing of the kind where no cache would ask: POST, gRPC", async () => {
    for (const way of ["connect+json", "connect+proto", "grpc", "grpc-web"] as const) {
      const { code, headers } = await rawCall(
        gazette.system.url,
        GazetteService.method.readIssue,
        {},
        { way },
      );
      expect(code).toBe("ok");
      expect(headers).not.toHaveProperty("etag");
      expect(headers).not.toHaveProperty("cache-control");
    }
  });
});

describe("an answer that may not be the same for everyone", () => {
  test("is kept by its caller alone, and asked about each time", async () => {
    const headers = await bearer("viewer");
    const first = await gazette.get("ReadReport", { name: "mine" }, headers);
    expect(first.headers["cache-control"]).toBe("private, no-cache");
    expect(first.headers["vary"]).toContain("authorization, x-api-key");
    const second = await gazette.get(
      "ReadReport",
      { name: "mine" },
      { ...headers, "if-none-match": tagOf(first) },
    );
    expect([second.status, second.headers["cache-control"]]).toEqual([304, "private, no-cache"]);
  });

  test.each(["ReadLetter", "ReadNotice"] as const)("without credentials too: %s", async (method) => {
    expect((await gazette.get(method)).headers["cache-control"]).toBe("private, no-cache");
  });

  test("nor is what is for everyone kept for others, when it was asked for with credentials", async () => {
    const { headers } = await gazette.get("ReadIssue", {}, await bearer("customer"));
    expect(headers["cache-control"]).toBe("private, no-cache");
  });

  test("is not confirmed to another caller", async () => {
    const one = await gazette.get("ReadLetter", { name: "dear" }, await bearer("viewer", "one"));
    const other = await gazette.get(
      "ReadLetter",
      { name: "dear" },
      { ...(await bearer("viewer", "other")), "if-none-match": tagOf(one) },
    );
    expect(other.status).toBe(200);
    expect(other.body.toString()).toContain("other");
  });

  test("is confirmed to nobody who may not have it, whatever tag is sent", async () => {
    const first = await gazette.get("ReadReport", { name: "secret" }, await bearer("viewer"));
    for (const tag of [tagOf(first), "*"]) {
      const known = { "if-none-match": tag };
      const stranger = await gazette.get("ReadReport", { name: "secret" }, known);
      const customer = await gazette.get(
        "ReadReport",
        { name: "secret" },
        { ...(await bearer("customer")), ...known },
      );
      const forged = await gazette.get(
        "ReadIssue",
        { name: "secret" },
        { authorization: "Bearer x", ...known },
      );
      expect([stranger.status, customer.status, forged.status]).toEqual([401, 403, 401]);
      for (const { headers } of [stranger, customer, forged]) {
        expect(headers["cache-control"]).toBe("no-store");
        expect(headers["etag"]).toBeUndefined();
      }
    }
  });

  test("is not confirmed any more to who has lost the right to it", async () => {
    const headers = await bearer("viewer", "loser");
    const first = await gazette.get("ReadReport", { name: "lost" }, headers);
    const known = { ...headers, "if-none-match": tagOf(first) };
    expect((await gazette.get("ReadReport", { name: "lost" }, known)).status).toBe(304);
    const whenStatusIs = (status: number) =>
      vi.waitFor(
        async () => expect((await gazette.get("ReadReport", { name: "lost" }, known)).status).toBe(status),
        { timeout: 15_000 },
      );
    gazette.giveRights({ admin: ["*"], viewer: [], customer: ["reports.read"] });
    await whenStatusIs(403);
    gazette.giveRights({ admin: ["*"], viewer: ["reports.read"], customer: [] });
    await whenStatusIs(304);
  }, 60_000);
});

describe("nothing is to be kept", () => {
  test.each([
    ["of a method without a cache", "ReadTicker", {}, 200],
    ["of an answer that lacks something", "ReadIssue", { name: "torn" }, 200],
    ["of an error", "ReadIssue", { name: "broken" }, 429],
    ["of a request that is refused", "ReadIssue", { nome: "" }, 400],
  ] as const)("%s", async (_, method, request, status) => {
    const answer = await gazette.get(method, request, { "if-none-match": "*" });
    expect(answer.status).toBe(status);
    expect(answer.headers["cache-control"]).toBe("no-store");
    expect(answer.headers["etag"]).toBeUndefined();
  });

  test("of a method that is not there yet", async () => {
    const answer = await fetch(`${gazette.system.url}/acme.api.gazette.v1.GazetteService/ReadAtlas`);
    expect(answer.status).toBe(404);
    expect(answer.headers.get("cache-control")).toBe("no-store");
  });
});

test("an answer that says something else is sent, even if the gateway itself keeps none", async () => {
  await using other = await startGazette({ env: { ANSWER_CACHE_BYTES: "0" } });
  const first = await other.get("ReadIssue", { name: "news" });
  const known = { "if-none-match": tagOf(first) };
  expect((await other.get("ReadIssue", { name: "news" }, known)).status).toBe(304);
  expect(other.runs()).toBe(2);
  other.publish("second edition");
  const second = await other.get("ReadIssue", { name: "news" }, known);
  expect([second.status, second.body.toString()]).toEqual([200, expect.stringContaining("second edition")]);
  expect(tagOf(second)).not.toBe(tagOf(first));
});

describe("clients that know nothing of Portico", () => {
  test("connect-web, by GET", async () => {
    const transport = createConnectTransport({ baseUrl: gazette.system.url, useHttpGet: true });
    const client = createClient(GazetteService, transport);
    let tag = "";
    const onHeader = (headers: Headers) => {
      tag = headers.get("etag") ?? "";
    };
    const { prices } = await client.readIssue({ name: "connect" }, { onHeader });
    expect(prices).toEqual({ EUR: 2n, USD: 3n });
    expect(tag).toMatch(/^W\//);
  });

  test.skipIf(isMissing("curl"))("curl, which keeps the tag in a file", async () => {
    const folder = mkdtempSync(join(tmpdir(), "portico-etag-"));
    try {
      const [tag, body] = [join(folder, "tag"), join(folder, "body")];
      const url = gazette.system.url + pathOf("ReadIssue", { name: "curl" });
      const run = promisify(execFile);
      const curl = async () =>
        (
          await run("curl", [
            "-s",
            "--etag-save",
            tag,
            "--etag-compare",
            tag,
            "-o",
            body,
            "-w",
            "%{http_code}",
            url,
          ])
        ).stdout;
      expect(await curl()).toBe("200");
      expect(JSON.parse(readFileSync(body, "utf8"))).toMatchObject({ text: "curl, first edition" });
      expect(await curl()).toBe("304");
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test.skipIf(isMissing("chromium", "google-chrome"))("Chromium, whose own cache asks", async () => {
    const executablePath = findProgram("chromium", "google-chrome");
    const browser = await chromium.launch({
      ...(executablePath !== undefined && { executablePath }),
      args: ["--headless", "--no-sandbox", "--disable-gpu"],
    });
    try {
      const tab = await browser.newPage();
      await tab.goto(`${gazette.system.url}/healthz`);
      const { authorization } = await bearer("viewer", "browser");
      const read = (method: "ReadIssue" | "ReadReport", requestId: string) =>
        tab.evaluate(
          async ([url = "", authorization = "", requestId = ""]) => {
            const credentials = authorization === "" ? {} : { authorization };
            const answer = await fetch(url, { headers: { ...credentials, "x-request-id": requestId } });
            return { status: answer.status, body: await answer.text() };
          },
          [pathOf(method, { name: "web" }), method === "ReadIssue" ? "" : authorization, requestId],
        );
      const reports = [await read("ReadReport", "web-1"), await read("ReadReport", "web-2")];
      expect(reports[0]).toMatchObject({ status: 200, body: expect.stringContaining("web for") });
      expect(reports[1]).toEqual(reports[0]);
      expect(await gazette.system.logOf("web-1")).toMatchObject({ status: 200 });
      expect(await gazette.system.logOf("web-2")).toMatchObject({ status: 304 });
      const issues = [await read("ReadIssue", "web-3"), await read("ReadIssue", "web-4")];
      expect(issues[0]?.status).toBe(200);
      expect(issues[1]).toEqual(issues[0]);
      // What is for everyone, and fresh, is not asked about again.
      await gazette.system.logOf("web-3");
      await gazette.get("ReadTicker", {}, { "x-request-id": "after-web-4" });
      await gazette.system.logOf("after-web-4");
      expect(gazette.system.log().some((line) => line["requestId"] === "web-4")).toBe(false);
    } finally {
      await browser.close();
    }
  });
});

describe.skipIf(noRedis !== "")(`gateways with one Redis${noRedis}`, () => {
  /** The origin of an answer, by the log. */
  const fromOf = async (at: Gazette, requestId: string, name: string) => {
    const { status, body } = await at.get("ReadIssue", { name }, { "x-request-id": requestId });
    expect([status, body.toString()]).toEqual([200, expect.stringContaining(name)]);
    return (await at.system.logOf(requestId))["answer"];
  };
  let tries = 0;
  /** Resolves when what one of them has made is given by the other. */
  const whenTogether = (one: Gazette, other: Gazette) =>
    vi.waitFor(
      async () => {
        tries += 1;
        await one.get("ReadIssue", { name: `try ${tries}` });
        await new Promise((resolve) => setTimeout(resolve, 20));
        expect(await fromOf(other, `try-${tries}`, `try ${tries}`)).toBe("shared");
      },
      { timeout: 20_000 },
    );

  test("give each other's answers, with the same tags, and go on by themselves when it dies", async () => {
    await using redis = await startRedis();
    const env = { REDIS_URL: redis.url };
    await using one = await startGazette({ env });
    await using two = await startGazette({ env });
    await whenTogether(one, two);
    const runs = two.runs();
    const first = await one.get("ReadIssue", { name: `try ${tries}` });
    const second = await two.get("ReadIssue", { name: `try ${tries}` }, { "if-none-match": tagOf(first) });
    expect(second.status).toBe(304);
    expect(two.runs()).toBe(runs);
    const { answers } = (await (await fetch(`${two.system.adminUrl}/readyz`)).json()) as {
      answers: { shared: number };
    };
    expect(answers.shared).toBeGreaterThanOrEqual(1);

    await redis.stop();
    expect(await fromOf(one, "dead-1", "dead")).toBe("run");
    expect(await fromOf(two, "dead-2", "dead")).toBe("run");
    expect(await fromOf(two, "dead-3", "dead")).toBe("cache");

    await redis.restart();
    await whenTogether(one, two);
  });

  test("share nothing after a deployment with another policy", async () => {
    await using redis = await startRedis();
    const env = { REDIS_URL: redis.url };
    await using one = await startGazette({ env });
    await using two = await startGazette({ env });
    await whenTogether(one, two);
    await using changed = await startGazette({ env, rebuild: keptForLess });
    await using alike = await startGazette({ env, rebuild: keptForLess });
    await whenTogether(changed, alike);
    expect(await fromOf(changed, "changed-1", `try 1`)).toBe("run");
  });
});

/** The same service, from protos that let the answers of one method be kept for a second less. */
function keptForLess({ handlers }: PublicService): PublicService {
  const file = rebuilt(GazetteService.file, (proto) => {
    const options = proto.service[0]?.method[0]?.options;
    if (proto.name !== GazetteService.file.proto.name || options === undefined) return;
    const policy = getExtension(options, methodPolicy);
    if (policy.cache?.ttl !== undefined) policy.cache.ttl.seconds -= 1n;
    setExtension(options, methodPolicy, policy);
  });
  const [desc] = file.services;
  if (desc === undefined) throw new Error("the service is gone");
  return { desc, handlers };
}
