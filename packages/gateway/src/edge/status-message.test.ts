import { expect, test } from "vitest";
import { plainStatusMessage } from "./status-message.ts";

async function* bytes() {
  yield Uint8Array.of(1);
  yield Uint8Array.of(2);
}

async function read(body: AsyncIterable<Uint8Array> | undefined) {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body ?? []) chunks.push(chunk);
  return chunks;
}

/** What is left of a response whose router wrote this message into its trailers. */
async function rewrite(message: string) {
  const trailer = new Headers({ "grpc-status": "3", "grpc-message": encodeURIComponent(message) });
  const answer = plainStatusMessage({ status: 200, body: bytes(), trailer });
  const body = await read(answer.body);
  return { body, message: answer.trailer?.get("grpc-message"), status: answer.trailer?.get("grpc-status") };
}

test("punctuation stays as it is", async () => {
  expect(await rewrite("page_size: must be 0, or more; got [-1] (why?)")).toEqual({
    body: [Uint8Array.of(1), Uint8Array.of(2)],
    message: "page_size: must be 0, or more; got [-1] (why?)",
    status: "3",
  });
});

test.each([
  ["100% sure", "100%25 sure"],
  ["%3A", "%253A"],
  ["naïve 🙂", "na%C3%AFve %F0%9F%99%82"],
  ["two\r\nlines", "two%0D%0Alines"],
])("what gRPC wants encoded is: %s", async (message, encoded) => {
  expect((await rewrite(message)).message).toBe(encoded);
  expect(decodeURIComponent(encoded)).toBe(message);
});

test("an answer without a message is left alone", async () => {
  const trailer = new Headers({ "grpc-status": "0" });
  const { body } = plainStatusMessage({ status: 200, body: bytes(), trailer });
  expect(await read(body)).toHaveLength(2);
  expect([...trailer]).toEqual([["grpc-status", "0"]]);
});

test("an answer that has no trailers, or no body, is the same object", () => {
  const unary = { status: 200, body: bytes() };
  expect(plainStatusMessage(unary)).toBe(unary);
  const empty = { status: 405, trailer: new Headers() };
  expect(plainStatusMessage(empty)).toBe(empty);
});
