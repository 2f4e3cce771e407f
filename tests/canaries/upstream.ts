import type { ServerHttp2Stream } from "node:http2";
import {
  create,
  type DescMessage,
  type DescMethod,
  type MessageInitShape,
  toBinary,
} from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import {
  DebugInfoSchema,
  ErrorInfoSchema,
} from "../../packages/gateway/src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../../packages/gateway/src/gen/google/rpc/status_pb.ts";
import { InventoryService } from "../../packages/gateway/src/gen/smpl/inventory/v1/inventory_service_pb.ts";
import { OrdersService } from "../../packages/gateway/src/gen/smpl/orders/v1/orders_service_pb.ts";
import { UsersService } from "../../packages/gateway/src/gen/smpl/users/v1/users_service_pb.ts";
import { answer, grpcHeaders, startFaultyUpstream } from "../faulty-upstream.ts";
import { envelope } from "../raw-call.ts";

/** What an internal service has that must not get out. */
export interface UpstreamCanaries {
  /** Of a user: for those alone who may read it. */
  readonly email: string;
  /** A field that no public message has. */
  readonly field: string;
  readonly header: string;
  readonly trailer: string;
  /** The message of an error. */
  readonly words: string;
  /** Details of an error. */
  readonly details: string;
}

/** An internal service, all three in one, that says everything it knows. */
export interface TalkativeUpstream extends AsyncDisposable {
  readonly url: string;
  /** Fails from now on with this status of gRPC; 0 for none. */
  readonly failWith: (status: number) => void;
  /** The headers of every call that it got. */
  readonly seen: () => readonly Readonly<Record<string, unknown>>[];
}

/** Starts an internal service that answers everything, with canaries wherever there is room for one. */
export async function startTalkativeUpstream(canaries: UpstreamCanaries): Promise<TalkativeUpstream> {
  const upstream = await startFaultyUpstream();
  const seen: Readonly<Record<string, unknown>>[] = [];
  const answers = answersWith(canaries);
  let status = 0;
  upstream.behave({
    stream: (stream, headers) => {
      seen.push(headers);
      const chunk = answers.get(String(headers[":path"]));
      if (chunk === undefined) throw new Error(`there is no answer for ${headers[":path"]}`);
      if (status === 0) succeed(stream, chunk, canaries);
      else fail(stream, status, canaries);
    },
  });
  return {
    url: upstream.url,
    failWith: (next) => {
      status = next;
    },
    seen: () => seen,
    [Symbol.asyncDispose]: () => upstream[Symbol.asyncDispose](),
  };
}

function succeed(stream: ServerHttp2Stream, chunk: Buffer, { header, trailer }: UpstreamCanaries): void {
  const trailers = { "grpc-status": "0", "grpc-message": trailer, "x-internal-trailer": trailer };
  answer(stream, [chunk], trailers, { ...grpcHeaders, ...headersWith(header) });
}

function fail(stream: ServerHttp2Stream, code: number, canaries: UpstreamCanaries): void {
  const { words, details, header, trailer } = canaries;
  const info = create(ErrorInfoSchema, {
    reason: details,
    domain: details,
    metadata: { [details]: details },
  });
  const debug = create(DebugInfoSchema, { stackEntries: [details], detail: details });
  const status = create(StatusSchema, {
    code,
    message: words,
    details: [anyPack(ErrorInfoSchema, info), anyPack(DebugInfoSchema, debug)],
  });
  const trailers = {
    "grpc-status": String(code),
    "grpc-message": encodeURIComponent(words),
    "grpc-status-details-bin": Buffer.from(toBinary(StatusSchema, status)).toString("base64"),
    "x-internal-trailer": trailer,
  };
  answer(stream, [], trailers, { ...grpcHeaders, ...headersWith(header) });
}

function headersWith(canary: string): Record<string, string> {
  return {
    "x-internal-header": canary,
    "set-cookie": `session=${canary}`,
    server: canary,
    location: `/${canary}`,
  };
}

function answersWith({ email, field }: UpstreamCanaries): ReadonlyMap<string, Buffer> {
  const user = {
    id: "user-1",
    email,
    displayName: "Ada",
    phone: field,
    passwordHash: field,
    address: { street: field, city: field, postalCode: field, countryCode: field },
  };
  const lineItems = [{ product: "Hub", quantity: 1, unitCost: { currencyCode: field, units: 1n } }];
  const order = { id: "order-1", userId: "user-1", product: "Hub", internalNote: field, lineItems };
  const item = {
    id: "item-1",
    ownerId: "user-1",
    name: "Hub",
    warehouseLocation: field,
    supplierReference: field,
  };
  const users = UsersService.method;
  const orders = OrdersService.method;
  const inventory = InventoryService.method;
  return new Map([
    ...encode(users.createUser, { user }),
    ...encode(users.getUser, { user }),
    ...encode(users.listUsers, { users: [user] }),
    ...encode(users.batchGetUsers, { users: [user] }),
    ...encode(orders.createOrder, { order }),
    ...encode(orders.getOrder, { order }),
    ...encode(orders.listOrders, { orders: [order] }),
    ...encode(orders.watchOrders, { order }),
    ...encode(inventory.listItems, { items: [item] }),
    ...encode(inventory.batchGetItems, { items: [item] }),
  ]);
}

function encode<M extends DescMethod>(method: M, message: MessageInitShape<M["output"]>): [string, Buffer][] {
  const { output }: { output: DescMessage } = method;
  const path = `/${method.parent.typeName}/${method.name}`;
  return [[path, envelope(toBinary(output, create(output, message)))]];
}
