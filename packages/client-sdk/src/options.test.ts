import { createRouterTransport } from "@connectrpc/connect";
import { describe, expect, expectTypeOf, it, vi } from "vitest";
import { checkOptions, type PorticoOptions } from "./options.ts";
import { Portico } from "./portico.ts";

const baseUrl = "https://api.example.com";
const transport = createRouterTransport(() => {});

describe("checkOptions", () => {
  it("takes a base URL and fills in the rest", () => {
    const settings = checkOptions({ baseUrl });
    expect(settings.timeoutMs).toBe(30_000);
    expect(settings.token).toBeUndefined();
    expect([...settings.headers]).toEqual([]);
  });

  it.each(["http://localhost:8080", "https://example.com/api/", "HTTPS://EXAMPLE.COM"])("takes %s", (url) => {
    expect(() => checkOptions({ baseUrl: url })).not.toThrow();
  });

  it("takes a path where there is a page, as in a browser", () => {
    expect(() => checkOptions({ baseUrl: "/api" })).toThrow("`baseUrl`");
    vi.stubGlobal("location", { href: "https://example.com/app" });
    try {
      expect(() => checkOptions({ baseUrl: "/api" })).not.toThrow();
      expect(() => checkOptions({ baseUrl: "//other.example" })).toThrow("`baseUrl`");
      expect(() => checkOptions({ baseUrl: "api.example.com" })).toThrow("`baseUrl`");
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it("takes a transport in place of an address", () => {
    expect(checkOptions({ transport }).transport).toBe(transport);
  });

  it("does not share the caller's headers", () => {
    const headers = new Headers({ "x-a": "1" });
    const settings = checkOptions({ baseUrl, headers });
    headers.set("x-a", "2");
    expect(settings.headers.get("x-a")).toBe("1");
  });
});

describe("misuse", () => {
  // Plain objects, since the compiler refuses most of these.
  it.each<[Record<string, unknown>, string]>([
    [{}, "option `baseUrl` must be an absolute http or https URL"],
    [{ baseUrl: "localhost:8080" }, 'got "localhost:8080"'],
    [{ baseUrl: "ftp://example.com" }, 'got "ftp://example.com"'],
    [{ baseUrl: 5 }, "got 5"],
    [{ baseUrl: new URL(baseUrl) }, "got an object"],
    [{ baseUrl: "https://example.com/?a=b" }, "`baseUrl` must be a URL without query"],
    [{ baseUrl, baseURL: baseUrl }, 'there is no option "baseURL"; there are baseUrl, token'],
    [{ baseUrl, timeoutMs: 0 }, "`timeoutMs` must be a number of milliseconds from 1 to 2147483647; got 0"],
    [{ baseUrl, timeoutMs: -5 }, "got -5"],
    [{ baseUrl, timeoutMs: "5" }, 'got "5"'],
    [{ baseUrl, timeoutMs: Number.NaN }, "got NaN"],
    [{ baseUrl, timeoutMs: 2 ** 31 }, "got 2147483648"],
    [{ baseUrl, fetch: "fetch" }, '`fetch` must be a function; got "fetch"'],
    [{ baseUrl, interceptors: [5] }, "`interceptors` must be an array of functions; got an array"],
    [{ baseUrl, headers: { "no good": "1" } }, "`headers` must hold valid names and values"],
    [{ baseUrl, headers: { "x-a": "1\n2" } }, "`headers` must hold valid names and values"],
    [{ transport, baseUrl }, "give `transport` or `baseUrl`, not both"],
    [{ transport, interceptors: [] }, "give `transport` or `interceptors`, not both"],
    [{ transport: null }, "`transport` must be a Connect transport; got null"],
    [{ transport: { unary: 1 } }, "`transport` must be a Connect transport; got an object"],
  ])("%j", (options, message) => {
    const make = () => Reflect.construct(Portico, [options]);
    expect(make).toThrow(TypeError);
    expect(make).toThrow(message);
  });

  it.each([undefined, null, "https://example.com"])("options %s", (options) => {
    expect(() => Reflect.construct(Portico, [options])).toThrow("option `options` must be an object");
  });

  it.each(["Bearer s3cret", "s3cret\n", "", { token: "s3cret" }])(
    "token %j, without repeating it",
    (token) => {
      const make = () => Reflect.construct(Portico, [{ baseUrl, token }]);
      expect(make).toThrow("option `token` must be a token without spaces");
      expect(make).not.toThrow("s3cret");
    },
  );

  it("a password in the URL, without repeating it", () => {
    const make = () => new Portico({ baseUrl: "https://ada:s3cret@example.com" });
    expect(make).toThrow("must not hold a user name or a password");
    expect(make).not.toThrow("s3cret");
  });
});

it("asks the compiler for an address or a transport", () => {
  expectTypeOf<{ baseUrl: string; token: () => Promise<string> }>().toExtend<PorticoOptions>();
  expectTypeOf<{ transport: typeof transport; timeoutMs: number }>().toExtend<PorticoOptions>();
  expectTypeOf<{ token: string }>().not.toExtend<PorticoOptions>();
  expectTypeOf<{ baseUrl: string; transport: typeof transport }>().not.toExtend<PorticoOptions>();
});
