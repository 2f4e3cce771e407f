import type { DescMessage } from "@bufbuild/protobuf";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { describe, expect, test } from "vitest";
import { internal } from "../testing/protos.ts";
import { watchJson } from "./json-fault.ts";

const { CrateSchema } = internal;

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
