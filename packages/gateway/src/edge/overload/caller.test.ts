import { IncomingMessage } from "node:http";
import { Socket } from "node:net";
import { describe, expect, test } from "vitest";
import { createCallers } from "./caller.ts";

function request(headers: Readonly<Record<string, string>> = {}): IncomingMessage {
  return Object.assign(new IncomingMessage(new Socket()), { headers });
}

const withToken = (token: string) => request({ authorization: `Bearer ${token}` });

describe("a caller", () => {
  test("without credentials is anonymous", () => {
    expect(createCallers().of(request()).kind).toBe("anonymous");
  });

  test("with credentials that nobody has checked yet is anonymous, whatever they are", () => {
    const callers = createCallers();
    expect(callers.of(withToken("invented"))).toEqual(callers.of(withToken("another")));
    expect(callers.of(withToken("invented")).kind).toBe("anonymous");
  });

  test.each([
    ["a token", { authorization: "Bearer good" }],
    ["an API key", { "x-api-key": "good" }],
  ])("whose credentials were valid once is known by %s", (_, headers) => {
    const callers = createCallers();
    callers.recognise(request(headers), "ada");
    expect(callers.of(request(headers))).toMatchObject({ kind: "known" });
    expect(callers.of(withToken("other")).kind).toBe("anonymous");
  });

  test("is one, however many credentials it has", () => {
    const callers = createCallers();
    const forms = [{ authorization: "Bearer one" }, { authorization: "bearer one" }, { "x-api-key": "two" }];
    for (const headers of forms) callers.recognise(request(headers), "ada");
    expect(new Set(forms.map((headers) => callers.of(request(headers)).key))).toEqual(new Set(["ada"]));
  });

  test("whose credentials are refused is a stranger again", () => {
    const callers = createCallers();
    callers.recognise(withToken("revoked"), "ada");
    callers.recognise(withToken("good"), "ada");
    callers.forget(withToken("revoked"));
    expect(callers.of(withToken("revoked")).kind).toBe("anonymous");
    expect(callers.of(withToken("good")).kind).toBe("known");
  });

  test("without credentials cannot be recognised", () => {
    const callers = createCallers();
    callers.recognise(request(), "ada");
    expect(callers.of(request()).kind).toBe("anonymous");
  });

  test("is forgotten only if it stays away while many others come", () => {
    const callers = createCallers();
    const large = "x".repeat(8_000);
    callers.recognise(withToken("gone"), "gone");
    for (let i = 0; i < 2_000; i++) {
      callers.recognise(withToken(`${i} ${large}`), `${i}`);
      callers.recognise(withToken("regular"), "regular");
    }
    expect(callers.of(withToken("gone")).kind).toBe("anonymous");
    expect(callers.of(withToken("regular")).kind).toBe("known");
  });
});
