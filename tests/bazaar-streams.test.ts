import { once } from "node:events";
import { connect } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { canary } from "./bazaar/canaries.ts";
import { grpcClient } from "./bazaar/clients.ts";
import { purchaseOf } from "./bazaar/data.ts";
import { pub } from "./bazaar/protos.ts";
import { type Bazaar, startBazaar } from "./bazaar/system.ts";
import { envelope } from "./raw-call.ts";

// A stream of purchases, joined with all that belongs to them, from an upstream that gives as fast as it is read.

let bazaar: Bazaar;
beforeAll(async () => {
  bazaar = await startBazaar();
});
afterAll(() => bazaar[Symbol.asyncDispose]());
beforeEach(() => {
  bazaar.servers.behave({});
  bazaar.servers.forgetCalls();
});

describe("200 purchases that come quickly", () => {
  test("are joined in few batches, and come in their order with everything about them", async () => {
    const client = await grpcClient(bazaar, pub.BazaarService);
    const ids: string[] = [];
    for await (const { purchase } of client.watchPurchases({ count: 200 })) {
      ids.push(purchase?.id ?? "");
      const number = ids.length;
      expect(purchase).toMatchObject({
        title: `article ${number}`,
        shopperName: `Shopper ${number % 200}`,
        companyName: `Company ${number % 50}`,
        shopper: { company: { town: `Town ${number % 50}` } },
      });
      expect(
        JSON.stringify(purchase, (_, value) => (typeof value === "bigint" ? `${value}` : value)),
      ).not.toContain(canary);
    }
    expect(ids).toEqual(Array.from({ length: 200 }, (_, index) => `purchase-${index + 1}`));
    const asked = bazaar.servers.calls().filter(({ method }) => method === "BatchGetShoppers");
    // One for each would be 200; how many there are depends on how quickly they come.
    expect(asked.length).toBeLessThan(50);
  });

  test("have nothing that the caller may not read", async () => {
    const visitor = await grpcClient(bazaar, pub.BazaarService, "visitor");
    let count = 0;
    for await (const { purchase } of visitor.watchPurchases({ count: 3 })) {
      expect(purchase?.shopperMail).toBe("");
      count += 1;
    }
    expect(count).toBe(3);
  });
});

describe("a reader that is slow", () => {
  test("holds the upstream back, instead of filling the gateway", async () => {
    // 16 KiB each, so that a few hundred fill all windows on the way.
    const article = "x".repeat(16_384);
    bazaar.servers.behave({ purchase: (number) => purchaseOf(number, { article }) });
    await using stream = await openStream(1_000_000);
    await settles(() => bazaar.servers.stream().taken);
    const taken = bazaar.servers.stream().taken;
    expect(taken).toBeGreaterThan(0);
    expect(taken).toBeLessThan(1_000);
    expect(bazaar.servers.stream().over).toBe(false);

    // It goes on as soon as it is read.
    stream.resume();
    await until(() => bazaar.servers.stream().taken > taken);
  });
});

describe("a reader that leaves", () => {
  test("ends the stream of the upstream", async () => {
    const client = await grpcClient(bazaar, pub.BazaarService);
    const leaving = new AbortController();
    const watched = client.watchPurchases({ count: 1_000_000 }, { signal: leaving.signal });
    await expect(
      (async () => {
        for await (const { purchase } of watched) {
          expect(purchase?.id).toMatch(/^purchase-/);
          leaving.abort();
        }
      })(),
    ).rejects.toMatchObject({ code: Code.Canceled });
    await until(() => bazaar.servers.stream().over);
  });

  test("ends it as well while the upstream is held back", async () => {
    const article = "x".repeat(16_384);
    bazaar.servers.behave({ purchase: (number) => purchaseOf(number, { article }) });
    {
      await using _ = await openStream(1_000_000);
      await settles(() => bazaar.servers.stream().taken);
      expect(bazaar.servers.stream().over).toBe(false);
    }
    await until(() => bazaar.servers.stream().over);
  });
});

/** Opens a stream over gRPC that is not read until it is resumed. Ends with its connection. */
async function openStream(count: number): Promise<{ resume: () => void } & AsyncDisposable> {
  const session = connect(bazaar.url);
  const stream = session.request({
    ":method": "POST",
    ":path": "/acme.api.bazaar.v1.BazaarService/WatchPurchases",
    "content-type": "application/grpc+proto",
    te: "trailers",
    ...(await bazaar.headers()),
  });
  stream.on("error", () => {});
  const request = create(pub.WatchPurchasesRequestSchema, { count });
  stream.end(envelope(toBinary(pub.WatchPurchasesRequestSchema, request)));
  await once(stream, "response");
  return {
    resume: () => stream.resume(),
    [Symbol.asyncDispose]: async () => {
      session.destroy();
    },
  };
}

/** Waits until a number has not changed for a while. */
async function settles(read: () => number): Promise<void> {
  for (let last = -1, unchanged = 0; unchanged < 10; ) {
    unchanged = read() === last && last > 0 ? unchanged + 1 : 0;
    last = read();
    await pause();
  }
}

async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await pause();
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 100));
}
