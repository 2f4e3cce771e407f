import { fromJson, type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import {
  ListOrdersWithUserRequestSchema,
  ListOrdersWithUserResponseSchema,
  OrdersService,
  Portico,
  PorticoError,
  WatchOrdersWithUserResponseSchema,
} from "@portico/client-sdk";

/** What a test can ask the page to do. Everything that comes and goes is JSON. */
export interface Page {
  /** One page of orders through the SDK. */
  list(api: Api, request: JsonObject): Promise<JsonValue>;
  /** The same through connect-web's gRPC-Web. */
  listOverGrpcWeb(api: Api, request: JsonObject): Promise<JsonValue>;
  /** The ids of the first orders, page after page. */
  ids(api: Api, pageSize: number, count: number): Promise<string[]>;
  /** The first messages of the stream, which is then left. */
  watch(api: Api, backlog: number): Promise<JsonValue[]>;
  watchOverGrpcWeb(api: Api, backlog: number): Promise<JsonValue[]>;
  /** The error of a call for an order that does not exist. */
  missingOrder(api: Api): Promise<JsonObject>;
  /** What a bare `fetch` of a path ends in. */
  fetchIt(url: string): Promise<string>;
}

/** Where the API is, and who calls. */
export interface Api {
  readonly baseUrl: string;
  readonly token: string;
}

const page: Page = {
  async list(api, request) {
    const answer = await new Portico(api).orders.listOrdersWithUser(
      fromJson(ListOrdersWithUserRequestSchema, request),
    );
    return toJson(ListOrdersWithUserResponseSchema, answer);
  },
  async listOverGrpcWeb({ baseUrl, token }, request) {
    const client = createClient(OrdersService, createGrpcWebTransport({ baseUrl }));
    const headers = { authorization: `Bearer ${token}` };
    const message = fromJson(ListOrdersWithUserRequestSchema, request);
    return toJson(ListOrdersWithUserResponseSchema, await client.listOrdersWithUser(message, { headers }));
  },
  async ids(api, pageSize, count) {
    const ids: string[] = [];
    for await (const order of new Portico(api).orders.listOrdersWithUserAll({ pageSize })) {
      if (ids.push(order.id) === count) break;
    }
    return ids;
  },
  async watch(api, backlog) {
    const messages: JsonValue[] = [];
    for await (const message of new Portico(api).orders.watchOrdersWithUser({ backlog })) {
      if (messages.push(toJson(WatchOrdersWithUserResponseSchema, message)) === backlog) break;
    }
    return messages;
  },
  async watchOverGrpcWeb({ baseUrl, token }, backlog) {
    const client = createClient(OrdersService, createGrpcWebTransport({ baseUrl }));
    const controller = new AbortController();
    const options = { headers: { authorization: `Bearer ${token}` }, signal: controller.signal };
    const messages: JsonValue[] = [];
    for await (const message of client.watchOrdersWithUser({ backlog }, options)) {
      if (messages.push(toJson(WatchOrdersWithUserResponseSchema, message)) === backlog) break;
    }
    // Connect's own streams do not end with the loop.
    controller.abort();
    return messages;
  },
  async missingOrder(api) {
    try {
      await new Portico(api).orders.getOrderWithUser({ id: "order-0" });
      return {};
    } catch (error) {
      if (!(error instanceof PorticoError)) throw error;
      const { name, code, message, requestId = "" } = error;
      return { name, code, message, requestId };
    }
  },
  async fetchIt(url) {
    try {
      return `HTTP ${(await fetch(url)).status}`;
    } catch (error) {
      return String(error);
    }
  },
};
Object.assign(globalThis, { page });
