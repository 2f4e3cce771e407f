import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, encodeBinaryHeader } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import { type MissingPartSchema, PartialResultSchema } from "./gen/portico/api/v1/partial_result_pb.ts";
import { OrdersService } from "./orders.ts";
import { partial } from "./partial.ts";
import { Portico } from "./portico.ts";
import { drain, inMemory, serve, thrownBy } from "./testing/api.ts";

const dead: MessageInitShape<typeof MissingPartSchema> = {
  path: "orders[0-499].user_email",
  count: 500,
  code: "unavailable",
  reason: "SERVICE_UNAVAILABLE",
  message: "Try again shortly.",
  retryable: true,
};

describe("an answer", () => {
  it("tells what it lacks, over a socket", async () => {
    const { baseUrl } = await serve((router) => {
      router.rpc(OrdersService.method.listOrdersWithUser, (_, call) => {
        call.responseHeader.set("portico-partial-bin", header({ ...dead, retryDelay: { seconds: 2n } }));
        return { orders: [{ id: "1" }] };
      });
    });
    const page = await new Portico({ baseUrl }).orders.listOrdersWithUser({});
    expect(page.orders).toHaveLength(1);
    expect(partial(page)).toEqual([{ ...dead, retryDelayMs: 2_000 }]);
  });

  it("that is whole lacks nothing", async () => {
    const page = await lists([undefined]).orders.listOrdersWithUser({});
    expect(partial(page)).toEqual([]);
  });

  it("tells of itself alone, not of others of the same call or of its parts", async () => {
    const api = lists([header(dead), undefined, header({ ...dead, count: 1 })]);
    const [first, second, third] = [
      await api.orders.listOrdersWithUser({}),
      await api.orders.listOrdersWithUser({}),
      await api.orders.listOrdersWithUser({}),
    ];
    expect([first, second, third].map((page) => partial(page)[0]?.count)).toEqual([500, undefined, 1]);
    const [order] = first.orders;
    expect(order && partial(order)).toEqual([]);
  });

  it("tells of each page of a paged call", async () => {
    const counts: number[] = [];
    const { orders } = lists([header(dead), header({ ...dead, count: 7 })], ["2", ""]);
    for await (const page of orders.listOrdersWithUserAll().pages())
      counts.push(...partial(page).map(({ count }) => count));
    expect(counts).toEqual([500, 7]);
  });

  it("with a header that cannot be read lacks something nobody knows", async () => {
    const page = await lists(["not base64!"]).orders.listOrdersWithUser({});
    expect(partial(page)).toMatchObject([{ path: "*", code: "data_loss", retryable: false }]);
  });
});

describe("a stream", () => {
  it("tells what its messages lack when it has ended, over a socket", async () => {
    const { baseUrl } = await serve((router) => {
      router.rpc(OrdersService.method.watchOrdersWithUser, async function* (_, call) {
        yield {};
        yield {};
        call.responseTrailer.set("portico-partial-bin", header({ ...dead, path: "[1].order.user_email" }));
      });
    });
    const stream = new Portico({ baseUrl }).orders.watchOrdersWithUser({});
    expect(partial(stream)).toEqual([]);
    expect(await drain(stream)).toHaveLength(2);
    expect(partial(stream)).toEqual([{ ...dead, path: "[1].order.user_email" }]);
  });

  it("tells it also if it breaks, over a socket", async () => {
    const { baseUrl } = await serve((router) => {
      router.rpc(OrdersService.method.watchOrdersWithUser, async function* (_, call) {
        yield {};
        call.responseTrailer.set("portico-partial-bin", header(dead));
        throw new ConnectError("No.", Code.DeadlineExceeded);
      });
    });
    const stream = new Portico({ baseUrl }).orders.watchOrdersWithUser({});
    expect(await thrownBy(drain(stream))).toMatchObject({ code: "deadline_exceeded" });
    expect(partial(stream)).toEqual([dead]);
  });

  it("that is iterated again tells of the last time alone", async () => {
    let times = 0;
    const api = inMemory((router) => {
      router.rpc(OrdersService.method.watchOrdersWithUser, async function* (_, call) {
        yield {};
        times += 1;
        if (times === 1) call.responseTrailer.set("portico-partial-bin", header(dead));
      });
    });
    const stream = api.orders.watchOrdersWithUser({});
    await drain(stream);
    expect(partial(stream)).toHaveLength(1);
    await drain(stream);
    expect(partial(stream)).toEqual([]);
  });
});

/** A client whose server answers with these headers, one after the other. */
function lists(headers: readonly (string | undefined)[], tokens: readonly string[] = []): Portico {
  let calls = 0;
  return inMemory((router) => {
    router.rpc(OrdersService.method.listOrdersWithUser, (_, call) => {
      const value = headers[calls];
      if (value !== undefined) call.responseHeader.set("portico-partial-bin", value);
      return { orders: [{ id: "1" }], nextPageToken: tokens[calls++] ?? "" };
    });
  });
}

function header(part: MessageInitShape<typeof MissingPartSchema>): string {
  return encodeBinaryHeader(create(PartialResultSchema, { missing: [part] }), PartialResultSchema);
}
