import { fileURLToPath } from "node:url";
import { create, fromBinary, fromJson, fromJsonString, toJsonString } from "@bufbuild/protobuf";
import { ConnectError, decodeBinaryHeader, type Transport } from "@connectrpc/connect";
import * as node from "@connectrpc/connect-node";
import * as web from "@connectrpc/connect-web";
import { Client, credentials, Metadata, type MethodDefinition } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import {
  type PartialResult,
  PartialResultSchema,
} from "../../packages/gateway/src/gen/portico/api/v1/partial_result_pb.ts";
import {
  type ListOrdersWithUserRequest,
  ListOrdersWithUserRequestSchema,
  type Order,
  OrdersService,
  WatchOrdersWithUserRequestSchema,
} from "../../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";

// Clients that are not ours, and what each of them shows of an answer that lacks something.

const { listOrdersWithUser, watchOrdersWithUser } = OrdersService.method;

/** Where to call, and as whom. */
export interface Target {
  readonly url: string;
  readonly token: string;
}

/** An answer, and what its metadata says that it lacks. */
export interface Told {
  readonly orders: readonly Order[];
  readonly partial: PartialResult | undefined;
  /** How a stream ended. */
  readonly error?: unknown;
}

/** A client that lists orders. */
export interface ListClient {
  readonly name: string;
  readonly list: (target: Target, request: ListOrdersWithUserRequest) => Promise<Told>;
}

/** A client that reads a stream of orders to its end. */
export interface WatchClient {
  readonly name: string;
  readonly watch: (target: Target, backlog: number, timeoutMs?: number) => Promise<Told>;
}

/** What a header says. */
export function partialIn(headers: Headers): PartialResult | undefined {
  const value = headers.get("portico-partial-bin");
  return value === null ? undefined : decodeBinaryHeader(value, PartialResultSchema);
}

const transports: Readonly<Record<string, (baseUrl: string) => Transport>> = {
  "connect-node, Connect, HTTP/1.1": (baseUrl) =>
    node.createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "connect-node, Connect, HTTP/2, binary": (baseUrl) =>
    node.createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: true, ...unpooled(baseUrl) }),
  "connect-node, gRPC": (baseUrl) => node.createGrpcTransport({ baseUrl, ...unpooled(baseUrl) }),
  "connect-node, gRPC-Web": (baseUrl) => node.createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "connect-web, Connect": (baseUrl) => web.createConnectTransport({ baseUrl }),
  "connect-web, Connect GET": (baseUrl) => web.createConnectTransport({ baseUrl, useHttpGet: true }),
  "connect-web, gRPC-Web": (baseUrl) => web.createGrpcWebTransport({ baseUrl }),
};

/** A connection that ends by itself soon after its last call. */
function unpooled(baseUrl: string) {
  return { sessionManager: new node.Http2SessionManager(baseUrl, { idleConnectionTimeoutMs: 100 }) };
}

export const listClients: readonly ListClient[] = [
  ...Object.entries(transports).map(([name, connect]) => ({
    name,
    list: async ({ url, token }: Target, request: ListOrdersWithUserRequest): Promise<Told> => {
      const { header, message } = await connect(url).unary(
        listOrdersWithUser,
        undefined,
        undefined,
        bearer(token),
        request,
      );
      return { orders: message.orders, partial: partialIn(header) };
    },
  })),
  {
    name: "fetch, JSON",
    list: async ({ url, token }, request) => {
      const answer = await fetch(`${url}/${OrdersService.typeName}/${listOrdersWithUser.name}`, {
        method: "POST",
        headers: { ...bearer(token), "content-type": "application/json" },
        body: toJsonString(ListOrdersWithUserRequestSchema, request),
      });
      if (answer.status !== 200) throw new Error(await answer.text());
      const { orders } = fromJsonString(listOrdersWithUser.output, await answer.text());
      return { orders, partial: partialIn(answer.headers) };
    },
  },
  {
    name: "grpc-js",
    list: async ({ url, token }, request) => {
      const { client, definition } = grpc(url, "ListOrdersWithUser");
      const { path, requestSerialize, responseDeserialize, responseSerialize } = definition;
      const arrived = new Metadata();
      const json = JSON.parse(toJsonString(ListOrdersWithUserRequestSchema, request));
      const bytes = await new Promise<Buffer>((resolve, reject) =>
        client
          .makeUnaryRequest(
            path,
            requestSerialize,
            responseDeserialize,
            json,
            metadata(token),
            (error, answer) => (error === null ? resolve(responseSerialize(answer ?? {})) : reject(error)),
          )
          .on("metadata", (metadata: Metadata) => arrived.merge(metadata)),
      ).finally(() => client.close());
      return { orders: fromBinary(listOrdersWithUser.output, bytes).orders, partial: partialOf(arrived) };
    },
  },
];

export const watchClients: readonly WatchClient[] = [
  ...Object.entries(transports)
    .filter(([name]) => !name.endsWith("GET"))
    .map(([name, connect]) => ({
      name,
      watch: async ({ url, token }: Target, backlog: number, timeoutMs?: number): Promise<Told> => {
        const request = once(create(WatchOrdersWithUserRequestSchema, { backlog }));
        const stream = await connect(url).stream(
          watchOrdersWithUser,
          undefined,
          timeoutMs,
          bearer(token),
          request,
        );
        const orders: Order[] = [];
        try {
          for await (const { order } of stream.message) if (order !== undefined) orders.push(order);
          return { orders, partial: partialIn(stream.trailer) };
        } catch (error) {
          return { orders, partial: partialIn(ConnectError.from(error).metadata), error };
        }
      },
    })),
  {
    name: "fetch, JSON",
    watch: async ({ url, token }, backlog, timeoutMs) => {
      const request = Buffer.from(JSON.stringify({ backlog }));
      const size = Buffer.alloc(5);
      size.writeUInt32BE(request.length, 1);
      const answer = await fetch(`${url}/${OrdersService.typeName}/${watchOrdersWithUser.name}`, {
        method: "POST",
        headers: {
          ...bearer(token),
          "content-type": "application/connect+json",
          ...(timeoutMs !== undefined && { "connect-timeout-ms": String(timeoutMs) }),
        },
        body: Buffer.concat([size, request]),
      });
      const parts = envelopes(Buffer.from(await answer.arrayBuffer()));
      const { metadata = {}, error } = parts.pop() as {
        metadata?: Record<string, string[]>;
        error?: unknown;
      };
      const orders = parts.flatMap((part) => fromJson(watchOrdersWithUser.output, part as never).order ?? []);
      const [value] = metadata["portico-partial-bin"] ?? [];
      const headers = new Headers(value === undefined ? {} : { "portico-partial-bin": value });
      return { orders, partial: partialIn(headers), error };
    },
  },
  {
    name: "grpc-js",
    watch: async ({ url, token }, backlog, timeoutMs) => {
      const { client, definition } = grpc(url, "WatchOrdersWithUser");
      const { path, requestSerialize, responseDeserialize, responseSerialize } = definition;
      const options = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
      const stream = client.makeServerStreamRequest(
        path,
        requestSerialize,
        responseDeserialize,
        { backlog },
        metadata(token),
        options,
      );
      const ended = new Promise<Metadata>((resolve) =>
        stream.on("status", ({ metadata }) => resolve(metadata)),
      );
      const orders: Order[] = [];
      try {
        for await (const message of stream) {
          const { order } = fromBinary(watchOrdersWithUser.output, responseSerialize(message));
          if (order !== undefined) orders.push(order);
        }
        return { orders, partial: partialOf(await ended) };
      } catch (error) {
        return { orders, partial: partialOf(await ended), error };
      } finally {
        client.close();
      }
    },
  },
];

function bearer(token: string): Record<string, string> {
  return { authorization: `Bearer ${token}` };
}

function metadata(token: string): Metadata {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

/** grpc-js decodes metadata that ends in `-bin` by itself. */
function partialOf(metadata: Metadata): PartialResult | undefined {
  const [bytes] = metadata.get("portico-partial-bin");
  return bytes instanceof Buffer ? fromBinary(PartialResultSchema, bytes) : undefined;
}

const root = fileURLToPath(new URL("../..", import.meta.url));
const definitions = loadSync("smpl/api/orders/v1/api_orders_service.proto", {
  includeDirs: ["proto/public", "proto", "third_party"].map((folder) => `${root}/${folder}`),
  longs: String,
});

function grpc(url: string, method: string) {
  const service = definitions[OrdersService.typeName] as unknown as Record<
    string,
    MethodDefinition<object, object>
  >;
  const definition = service[method];
  if (definition === undefined) throw new Error(`no proto file has ${method}`);
  return { client: new Client(new URL(url).host, credentials.createInsecure()), definition };
}

/** The JSON of a stream of Connect. */
function envelopes(body: Buffer): unknown[] {
  const parts: unknown[] = [];
  for (let at = 0; at + 5 <= body.length; ) {
    const end = at + 5 + body.readUInt32BE(at + 1);
    parts.push(JSON.parse(body.subarray(at + 5, end).toString()));
    at = end;
  }
  return parts;
}

async function* once<T>(value: T) {
  yield value;
}
