import { describe, expect, test } from "vitest";
import { createByteBudget } from "./byte-budget.ts";
import { type BodyRules, createRequestBody, type RequestBody } from "./request-body.ts";

const json = "application/json";
const grpc = "application/grpc+proto";

function rules(contentType: string, others: Partial<BodyRules> = {}): BodyRules {
  return {
    contentType,
    contentLength: undefined,
    maxMessageBytes: 100,
    budget: createByteBudget(1_000),
    record: recordOf("ada"),
    ...others,
  };
}

function recordOf(caller: string, address = "192.0.2.1"): BodyRules["record"] {
  return { requestBytes: 0, caller, address };
}

async function* inBytes(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (const byte of bytes) yield Buffer.of(byte);
}

async function* inChunks(...sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  for (const size of sizes) yield Buffer.alloc(size, 1);
}

function envelope(length: number, declared = length): Buffer {
  const bytes = Buffer.alloc(5 + length, 1);
  bytes.writeUInt8(0);
  bytes.writeUInt32BE(declared, 1);
  return bytes;
}

async function read({ messages }: RequestBody): Promise<Buffer[]> {
  const all: Buffer[] = [];
  for await (const message of messages) all.push(Buffer.from(message));
  return all;
}

describe("a body that is one message", () => {
  test("comes in one piece, however it was sent", async () => {
    const bytes = Buffer.from('{"id":"a body of some length"}');
    for (const type of [json, "application/json; charset=utf-8", "application/proto"])
      expect(await read(createRequestBody(inBytes(bytes), rules(type)))).toEqual([bytes]);
    expect(await read(createRequestBody(inChunks(30, 1, 69), rules(json)))).toEqual([Buffer.alloc(100, 1)]);
  });

  test("may be empty", async () => {
    expect(await read(createRequestBody(inChunks(), rules(json)))).toEqual([]);
  });

  test("that says that it is too large is not read", async () => {
    let hasBegun = false;
    async function* chunks(): AsyncGenerator<Uint8Array> {
      hasBegun = true;
      yield Buffer.alloc(1);
    }
    const body = createRequestBody(chunks(), rules(json, { contentLength: 101 }));
    await expect(read(body)).rejects.toMatchObject({ reason: "REQUEST_TOO_LARGE" });
    expect(hasBegun).toBe(false);
  });

  test("that is too large is read no further", async () => {
    const given = rules(json);
    const body = createRequestBody(inChunks(60, 60, 60, 60), given);
    await expect(read(body)).rejects.toMatchObject({
      reason: "REQUEST_TOO_LARGE",
      rawMessage: "The request is larger than 100 bytes.",
    });
    expect(given.record.requestBytes).toBe(120);
  });
});

describe("a body of messages in envelopes", () => {
  test("is cut where they end", async () => {
    const [one, two] = [envelope(10), envelope(0)];
    const body = createRequestBody(inBytes(Buffer.concat([one, two])), rules(grpc));
    expect(await read(body)).toEqual([one, two]);
  });

  test("ends with what is left, for the decoder to refuse", async () => {
    const half = envelope(10).subarray(0, 9);
    expect(await read(createRequestBody(inBytes(half), rules(grpc)))).toEqual([half]);
  });
});

describe("the budget", () => {
  const overloaded = { reason: "OVERLOADED", options: { retryAfterMs: 1_000 } };

  test("is taken for what has come, not for what is declared", async () => {
    const budget = createByteBudget(1_000);
    const given = rules(grpc, { budget, maxMessageBytes: 2 ** 22 });
    const bodies = Array.from({ length: 20 }, () => createRequestBody(inBytes(envelope(1, 2 ** 22)), given));
    await Promise.all(bodies.map(read));
    expect(budget.used()).toBe(20 * 6);
    for (const { release } of bodies) release();
    expect(budget.used()).toBe(0);
  });

  test("that is used up fails the next body, and no other", async () => {
    const budget = createByteBudget(240);
    const ask = (caller: string) =>
      createRequestBody(inChunks(100), rules(json, { budget, record: recordOf(caller) }));
    const [first, second, third] = [ask("ada"), ask("bob"), ask("eve")];
    expect(await read(first)).toHaveLength(1);
    expect(await read(second)).toHaveLength(1);
    await expect(read(third)).rejects.toMatchObject(overloaded);
    expect(budget.used()).toBe(200);
    third.release();
    first.release();
    expect(budget.used()).toBe(100);
    expect(await read(ask("eve"))).toHaveLength(1);
  });

  test("has a last part for bodies that have begun", async () => {
    const budget = createByteBudget(160);
    const other = rules(json, { budget, record: recordOf("bob") });
    expect(await read(createRequestBody(inChunks(75), other))).toHaveLength(1);
    const begun = createRequestBody(inChunks(40, 30), rules(json, { budget }));
    expect(await read(begun)).toHaveLength(1);
    await expect(read(createRequestBody(inChunks(1), rules(json, { budget })))).rejects.toMatchObject(
      overloaded,
    );
  });

  test("is there in half for one caller, and the rest is for others", async () => {
    const budget = createByteBudget(200);
    const ask = (caller: string, address: string, bytes: number) =>
      read(createRequestBody(inChunks(bytes), rules(json, { budget, record: recordOf(caller, address) })));
    await ask("ada", "192.0.2.1", 100);
    await expect(ask("ada", "192.0.2.2", 1)).rejects.toMatchObject(overloaded);
    await ask("anonymous", "2001:db8::1", 30);
    await ask("anonymous", "192.0.2.1", 20);
    expect(budget.used()).toBe(150);
  });

  test("is given back for each message of a stream when the next is there", async () => {
    const budget = createByteBudget(100);
    const given = rules(grpc, { budget });
    async function* messages(): AsyncGenerator<Uint8Array> {
      for (let count = 0; count < 50; count++) yield envelope(20);
    }
    const body = createRequestBody(messages(), given);
    expect(await read(body)).toHaveLength(50);
    expect(given.record.requestBytes).toBe(50 * 25);
    expect(budget.used()).toBe(25);
    body.release();
    body.release();
    expect(budget.used()).toBe(0);
  });

  test("is not taken by what comes after the call is over", async () => {
    const budget = createByteBudget(100);
    const body = createRequestBody(inChunks(10, 10), rules(json, { budget }));
    body.release();
    await read(body);
    expect(budget.used()).toBe(0);
  });
});

test("an interruption fails who waits for the rest, and who asks later", async () => {
  const never = Promise.withResolvers<Uint8Array>();
  async function* chunks(): AsyncGenerator<Uint8Array> {
    yield Buffer.alloc(1);
    yield await never.promise;
  }
  const body = createRequestBody(chunks(), rules(json));
  const reading = read(body);
  await new Promise((resolve) => setImmediate(resolve));
  body.interrupt(new Error("too late"));
  await expect(reading).rejects.toThrow("too late");

  const unread = createRequestBody(chunks(), rules(grpc));
  unread.interrupt(new Error("too late"));
  await expect(read(unread)).rejects.toThrow("too late");
});
