import { getCACertificates, setDefaultCACertificates } from "node:tls";
import { type JsonValue, toJson } from "@bufbuild/protobuf";
import {
  ListOrdersWithUserResponseSchema,
  Portico,
  WatchOrdersWithUserResponseSchema,
} from "@portico/client-sdk";
import { type Browser, chromium } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Api, Page } from "./browser/page.ts";
import { type Site, startSite } from "./browser/site.ts";
import { findProgram, isMissing } from "./program.ts";
import { type System, startSystem } from "./system.ts";

// The SDK in a real browser, on a page of another origin.

const programs = ["chromium", "google-chrome"];
const reason = isMissing(...programs) ? ` (skipped: no ${programs.join(" or ")} on the PATH)` : "";

describe.skipIf(reason !== "").each([
  { port: "cleartext", tls: false, httpVersion: "http/1.1" },
  { port: "TLS", tls: true, httpVersion: "h2" },
])(`Chromium over $port${reason}`, ({ tls, httpVersion }) => {
  const stack = new AsyncDisposableStack();
  let system: System;
  let site: Site;
  let stranger: Site;
  let browser: Browser;
  let api: Api;
  let node: Portico;
  /** The versions of HTTP that answers of the API came by. */
  const spoken = new Set<string>();
  beforeAll(async () => {
    site = stack.use(await startSite());
    stranger = stack.use(await startSite());
    system = stack.use(await startSystem({ tls, env: { CORS_ORIGINS: site.origin } }));
    browser = stack.adopt(await launch(), (it) => it.close());
    if (system.ca !== undefined) setDefaultCACertificates([...getCACertificates("default"), system.ca]);
    api = { baseUrl: system.url, token: await system.token("support") };
    node = new Portico(api);
  });
  afterAll(() => stack.disposeAsync());

  /** Runs something in a page of a site. */
  async function inPage<A, R>(at: Site, argument: A, run: (argument: A) => R | Promise<R>): Promise<R> {
    // The certificate of the fixtures signs itself.
    const context = await browser.newContext({ ignoreHTTPSErrors: true });
    try {
      const tab = await context.newPage();
      const devtools = await context.newCDPSession(tab);
      await devtools.send("Network.enable");
      devtools.on("Network.responseReceived", ({ response }) => {
        if (response.url.startsWith(system.url)) spoken.add(response.protocol ?? "");
      });
      await tab.goto(at.origin);
      // Playwright's types forbid arguments that they cannot see to be JSON; what is given here is.
      return await tab.evaluate(run as (argument: unknown) => R, argument as unknown);
    } finally {
      await context.close();
    }
  }

  test("a page of orders is what Node gets, through the SDK and through gRPC-Web", async () => {
    const expected = toJson(
      ListOrdersWithUserResponseSchema,
      await node.orders.listOrdersWithUser({ pageSize: 5 }),
    );
    const answers = await inPage(site, api, async (api) => ({
      sdk: await page.list(api, { pageSize: 5 }),
      grpcWeb: await page.listOverGrpcWeb(api, { pageSize: 5 }),
    }));
    expect(answers.sdk).toEqual(expected);
    expect(answers.grpcWeb).toEqual(expected);
    expect([...spoken]).toEqual([httpVersion]);
  });

  test("for await goes from page to page", async () => {
    const expected = await node.orders.listOrdersWithUserAll({ pageSize: 50 }).toArray({ limit: 25 });
    system.mocks.orders.calls.clear();
    const ids = await inPage(site, api, (api) => page.ids(api, 10, 25));
    expect(ids).toEqual(expected.map(({ id }) => id));
    expect(system.mocks.orders.calls.count("listOrders")).toBe(3);
  });

  test.each(["watch", "watchOverGrpcWeb"] as const)(
    "%s gets messages and ends with the loop",
    async (how) => {
      const expected: JsonValue[] = [];
      for await (const message of node.orders.watchOrdersWithUser({ backlog: 3 })) {
        if (expected.push(toJson(WatchOrdersWithUserResponseSchema, message)) === 3) break;
      }
      system.mocks.orders.calls.clear();
      const messages = await inPage(site, { api, how }, ({ api, how }) => page[how](api, 3));
      expect(messages).toEqual(expected);
      await expect.poll(() => system.mocks.orders.calls.active("watchOrders"), waiting).toBe(0);
      expect(system.mocks.orders.calls.all("watchOrders")).toMatchObject([{ outcome: "canceled" }]);
      await expect.poll(() => system.inFlight(), waiting).toBe(0);
    },
  );

  test("an error has its type, its code and the request id that the log has", async () => {
    const error = await inPage(site, api, (api) => page.missingOrder(api));
    expect(error).toMatchObject({
      name: "NotFoundError",
      code: "not_found",
      message: expect.stringContaining("id: there is no order with this id"),
    });
    expect(await system.logOf(String(error["requestId"]))).toMatchObject({ code: "not_found" });
  });

  test("a page of an origin that is not listed gets nothing", async () => {
    const { url } = system;
    const outcome = (at: Site) => inPage(at, `${url}/healthz`, (url) => page.fetchIt(url));
    expect(await outcome(stranger)).toBe("TypeError: Failed to fetch");
    expect(await outcome(site)).toBe("HTTP 200");
    system.mocks.orders.calls.clear();
    const refused = inPage(stranger, api, (api) => page.list(api, {}));
    await expect(refused).rejects.toThrow(`No connection to ${url}`);
    expect(system.mocks.orders.calls.count()).toBe(0);
  });

  test("the answer names an origin only if it is listed", async () => {
    const allowed = async ({ origin }: Site) => {
      const answer = await fetch(`${system.url}/healthz`, { headers: { origin } });
      return answer.headers.get("access-control-allow-origin");
    };
    expect(await allowed(site)).toBe(site.origin);
    expect(await allowed(stranger)).toBeNull();
  });
});

/** Enough for a browser that is busy. */
const waiting = { timeout: 10_000 };

/** The page's own variable, in functions that run there. */
declare const page: Page;

function launch(): Promise<Browser> {
  const executablePath = findProgram(...programs);
  if (executablePath === undefined) throw new Error(`these tests need ${programs.join(" or ")} on the PATH`);
  const quiet = [
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ];
  const args = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", ...quiet];
  return chromium.launch({ executablePath, args });
}
