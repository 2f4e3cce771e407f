import type { DescMessage } from "@bufbuild/protobuf";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { describe, expect, test } from "vitest";
import { internal, vault } from "../testing/protos.ts";
import { watchJson } from "./json-fault.ts";

const { CrateSchema } = internal;
const { VaultSchema } = vault;

describe("the path of the first field that cannot be decoded", () => {
  test.each<[string, unknown, string | undefined]>([
    ["nothing wrong", { code: "1" }, undefined],
    ["a scalar", { code: 5 }, "code"],
    ["not an object", [], undefined],
    ["an unknown field is named by the decoder itself", { nonsense: 1 }, undefined],
  ])("%s", async (_, json, path) => {
    expect(await faultIn(CrateSchema, JSON.stringify(json))).toBe(path);
  });

  test("inside lists, maps and messages", async () => {
    for (const field of CrateSchema.fields) {
      if (field.fieldKind === "list")
        expect(await faultIn(CrateSchema, `{"${field.jsonName}":[{"x":[]}]}`)).toMatch(
          new RegExp(`^${field.name}\\[0\\]`),
        );
      if (field.fieldKind === "map")
        expect(await faultIn(CrateSchema, `{"${field.jsonName}":{"1":{"x":[]}}}`)).toMatch(
          new RegExp(`^${field.name}\\["1"\\]`),
        );
    }
  });
});

describe("inside messages, in lists and in maps", () => {
  test.each<[unknown, string | undefined]>([
    [{ inside: { inside: { grade: "NOPE" } } }, "inside.inside.grade"],
    [{ copies: [{}, { codes: ["a", 1] }] }, "copies[1].codes[1]"],
    [{ copies: [{}, 7] }, "copies[1]"],
    [{ copies: [null] }, "copies[0]"],
    [{ copies: {} }, "copies"],
    [{ annexes: { "a b": { sealTime: "yesterday" } } }, 'annexes["a b"].seal_time'],
    [{ annexes: { a: 1 } }, 'annexes["a"]'],
    [{ numbered: { 1: {}, x: {} } }, 'numbered["x"]'],
    [{ inside: "" }, "inside"],
    [{ label: 5 }, "label"],
    [{ seal_time: { seconds: 1 } }, "seal_time"],
    [{ copies: [{ codes: ["a"] }], annexes: { a: {} }, inside: { note: "x" } }, undefined],
  ])("%j", async (json, path) => {
    expect(await faultIn(VaultSchema, JSON.stringify(json))).toBe(path);
  });

  test.each<[unknown, string]>([
    [{ inside: { word: "a", dial: 1 } }, "inside"],
    [{ copies: [{}, { word: "a", dial: 1 }] }, "copies[1]"],
    [{ annexes: { a: { word: "a", dial: 1 } } }, 'annexes["a"]'],
    [{ inside: { copies: [{ word: "a", dial: 1 }] } }, "inside"],
  ])("of what does not go together: %j", async (json, path) => {
    expect(await faultIn(VaultSchema, JSON.stringify(json))).toBe(path);
  });
});

describe("is found soon, or not at all", () => {
  const deep = (depth: number, bottom: string) =>
    `${'{"copies":['.repeat(depth)}${bottom}${"]}".repeat(depth)}`;

  test.each<[string, string, string | undefined]>([
    ["a fault deep down", deep(90, `${"{},".repeat(1_500)}1`), `${"copies[0].".repeat(89)}copies[1500]`],
    ["behind many items", `{"codes":[${'"",'.repeat(1_500)}1]}`, "codes[1500]"],
    ["behind too many items", `{"codes":[${'"",'.repeat(20_000)}1]}`, undefined],
    ["behind too many messages", `{"copies":[${"{},".repeat(20_000)}1]}`, undefined],
    ["behind too many entries", `{"dials":{${keys(5_000, '""')},"-1":5}}`, undefined],
    ["too many items deep down", deep(90, `${"{},".repeat(19_000)}1`), undefined],
    ["two of a oneof behind too many", deep(1, `${"{},".repeat(5_000)}{"word":"","dial":1}`), undefined],
    ["more messages in messages than there may be", deep(5_000, "1"), undefined],
    ["a huge number", `{"worth":"${"9".repeat(60_000)}"}`, "worth"],
    ["many fields that there are not", `{${keys(6_000, "1")},"grade":"NOPE"}`, "grade"],
    ["64 KiB", `{"note":"${"x".repeat(65_500)}","pin":1}`, "pin"],
    ["more than 64 KiB", `{"note":"${"x".repeat(65_600)}","pin":1}`, undefined],
    ["more than 64 KiB in other letters", `{"note":"${"\u{1F600}".repeat(16_400)}","pin":1}`, undefined],
  ])("%s", async (_, body, path) => {
    const start = performance.now();
    expect(await faultIn(VaultSchema, body)).toBe(path);
    // A few milliseconds on a machine that is not busy; it was up to ten seconds.
    expect(performance.now() - start).toBeLessThan(300);
  });

  function keys(count: number, value: string): string {
    return Array.from({ length: count }, (_, index) => `"1${index}":${value}`).join();
  }
});

test("of an enveloped body", async () => {
  const body = `\0\0\0\0\x0a{"code":5}`;
  expect(await faultIn(CrateSchema, body, "application/connect+json")).toBe("code");
});

test("of a message in the query", async () => {
  const url = (query: string) => `http://localhost/acme?encoding=json&${query}`;
  const get = { ...request(""), method: "GET" };
  const plain = watchJson({ ...get, url: url("message=%7B%22code%22%3A5%7D") });
  expect(plain.find(CrateSchema)).toBe("code");
  const base64 = watchJson({ ...get, url: url(`base64=1&message=${btoa('{"code":5}')}`) });
  expect(base64.find(CrateSchema)).toBe("code");
});

test("what is no JSON has none, and is left as it is", async () => {
  expect(await faultIn(CrateSchema, "{")).toBeUndefined();
  const binary = request("\0\0\0\0\0", "application/grpc+proto");
  expect(watchJson(binary).request).toBe(binary);
});

/** Reads a body to its end, as the router does, and asks for the fault. */
async function faultIn(desc: DescMessage, body: string, contentType?: string): Promise<string | undefined> {
  const watched = watchJson(request(body, contentType));
  let read = "";
  for await (const chunk of watched.request.body as AsyncIterable<Uint8Array>) read += Buffer.from(chunk);
  expect(read).toBe(body);
  return watched.find(desc);
}

function request(body: string, contentType = "application/json"): UniversalServerRequest {
  return {
    httpVersion: "1.1",
    method: "POST",
    url: "http://localhost/acme",
    header: new Headers({ "content-type": contentType }),
    body: inTwo(Buffer.from(body)),
    signal: new AbortController().signal,
  };
}

async function* inTwo(bytes: Buffer): AsyncGenerator<Uint8Array> {
  yield bytes.subarray(0, 3);
  yield bytes.subarray(3);
}
