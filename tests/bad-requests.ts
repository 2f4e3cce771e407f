import { gzipSync } from "node:zlib";
import { create, type DescMethod, toBinary } from "@bufbuild/protobuf";
import { InventoryService } from "../packages/gateway/src/gen/smpl/api/inventory/v1/api_inventory_service_pb.ts";
import {
  CreateOrderRequestSchema,
  OrdersService,
} from "../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import {
  GetUserRequestSchema,
  UsersService,
} from "../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import { envelope, type RawOptions, type Way } from "./raw-call.ts";

/** A request that is wrong, and what the caller is to hear. */
export interface BadRequest extends RawOptions {
  readonly name: string;
  readonly method: DescMethod;
  readonly body: Uint8Array | string;
  readonly code: string;
  /** What the words must have in them; the name of the field where one is wrong. */
  readonly says?: RegExp;
}

const { createUser, getUser, listUsers } = UsersService.method;
const { createOrder, listOrdersWithUser, watchOrdersWithUser } = OrdersService.method;
const { listItemsGroupedByUsers } = InventoryService.method;
const invalid = "invalid_argument";

/** JSON that cannot be read, or not as this message. */
export function badJson(): BadRequest[] {
  const cases: [body: string | Buffer, says: RegExp, method?: DescMethod][] = [
    ["", /JSON/],
    ["{", /JSON/],
    ["{} x", /JSON/],
    ["{'pageSize':1}", /JSON/],
    ['{"pageSize":NaN}', /JSON/],
    ["[".repeat(50_000), /JSON/],
    ["[]", /ListOrdersWithUserRequest/],
    ["null", /ListOrdersWithUserRequest/],
    ["42", /ListOrdersWithUserRequest/],
    ['"text"', /ListOrdersWithUserRequest/],
    [Buffer.from('{"pageToken":"\xff\xfe"}', "latin1"), /UTF-8/],
    [Buffer.from('{"email":"\xc3\x28"}', "latin1"), /UTF-8/, createUser],
    ['{"email":"\\ud800@example.com"}', /email/, createUser],
    ['{"pageSize":"many"}', /page_size/],
    ['{"pageSize":1.5}', /page_size/],
    ['{"pageSize":1e99}', /page_size/],
    ['{"pageSize":2147483648}', /page_size/],
    ['{"pageSize":true}', /page_size/],
    ['{"pageSize":{}}', /page_size/],
    ['{"pageToken":7}', /page_token/],
    ['{"userIds":"user-1"}', /user_ids/],
    ['{"userIds":[1]}', /user_ids/],
    ['{"userIds":[null]}', /user_ids/],
    ['{"pagesize":1}', /pagesize/],
    ['{"__proto__":{"pageSize":1}}', /__proto__/],
    ['{"constructor":1}', /constructor/],
    ['{"status":"ORDER_STATUS_LOST"}', /^status: /],
    ['{"status":99}', /status/],
    ['{"status":[]}', /^status: /],
    ['{"createdFrom":"yesterday"}', /^created_from: /],
    ['{"createdFrom":"2024-13-01T00:00:00Z"}', /^created_from: /],
    ['{"createdFrom":{"seconds":1}}', /^created_from: /],
    ['{"userId":"user-1","lineItems":[{"product":"a","quantity":1,"price":1}]}', /price/, createOrder],
    ['{"userId":"user-1","lineItems":[{"product":"a","quantity":"x"}]}', /quantity/, createOrder],
    [
      '{"userId":"user-1","lineItems":[{"product":"a","quantity":1,"unitPrice":{"units":"x"}}]}',
      /^line_items\[0\]\.unit_price\.units: /,
      createOrder,
    ],
    ['{"userId":"user-1","lineItems":{}}', /^line_items: /, createOrder],
    ['{"userId":"user-1","lineItems":[{"product":"a","quantity":1},7]}', /^line_items\[1\]: /, createOrder],
    [
      '{"userId":"user-1","lineItems":[{"product":"a","quantity":1,"unitPrice":{"currencyCode":"EUR","units":"-1"}}]}',
      /^line_items\[0\]\.unit_price: must be from 0 to 1000000 units, with nanos from 0 to 999999999$/,
      createOrder,
    ],
    [
      '{"userId":"user-1","lineItems":[{"product":"a","quantity":1,"unitPrice":{"currencyCode":"EUR","nanos":-1}}]}',
      /^line_items\[0\]\.unit_price: must be from 0 to 1000000 units, with nanos from 0 to 999999999$/,
      createOrder,
    ],
    [
      '{"userId":"user-1","lineItems":[{"product":"a","quantity":1,"unitPrice":{"currencyCode":"euro"}}]}',
      /^line_items\[0\]\.unit_price\.currency_code: must be 3 characters$/,
      createOrder,
    ],
    [
      '{"userId":"user-1","lineItems":[{"product":"a","quantity":1,"unitPrice":{"currencyCode":"EUR"}},{"product":"b","quantity":1,"unitPrice":{"currencyCode":"USD"}}]}',
      /^line_items: all prices must be in one currency, got EUR, USD$/,
      createOrder,
    ],
    [
      '{"userId":"user-1","lineItems":[{"product":"a","quantity":1,"unitPrice":{"currencyCode":"eur"}}]}',
      /^line_items\[0\]\.unit_price\.currency_code: does not match regex pattern `\^\[A-Z\]\{3\}\$`$/,
      createOrder,
    ],
    ['{"email":"not an email"}', /^email: must be a valid email address$/, createUser],
    [`{"email":"${"a".repeat(300)}@example.com"}`, /^email: must be at most 254 characters$/, createUser],
    ['{"backlog":-1}', /^backlog/, watchOrdersWithUser],
    ['{"backlog":101}', /^backlog/, watchOrdersWithUser],
    ['{"backlog":"x"}', /backlog/, watchOrdersWithUser],
  ];
  return cases.map(([body, says, method = listOrdersWithUser]) => ({
    name: `${method.name} ${Buffer.from(body).toString("latin1").slice(0, 60)}`,
    method,
    body: method.methodKind === "unary" ? body : envelope(body),
    code: invalid,
    says,
  }));
}

/** Requests that can be read and make no sense. */
export function badValues(): BadRequest[] {
  const line = { product: "Webcam", quantity: 1 };
  const order = (...lineItems: object[]) => ({ userId: "user-1", lineItems });
  const cases: [method: DescMethod, request: object, says: RegExp][] = [
    [getUser, {}, /^id: is required$/],
    [getUser, { id: "" }, /^id: is required$/],
    [createUser, { displayName: "Ada" }, /^email: is required$/],
    [createOrder, { lineItems: [line] }, /^user_id: is required$/],
    [createOrder, { userId: "user-1" }, /^line_items: is required$/],
    [createOrder, order(line, line, { quantity: 1 }), /^line_items\[2\]\.product: is required$/],
    [createOrder, order(line, { product: "Webcam" }), /^line_items\[1\]\.quantity: is required$/],
    [
      createOrder,
      order(line, { product: "Webcam", quantity: -3 }),
      /^line_items\[1\]\.quantity: must be .* 1 .* 1000000$/,
    ],
    [
      createOrder,
      order(...Array<object>(101).fill(line)),
      /^line_items: must contain no more than 100 item\(s\)$/,
    ],
    [createOrder, { ...order(line), userId: "nobody" }, /^user_id: there is no user/],
    [listUsers, { pageSize: -1 }, /^page_size: .*-1/],
    [listOrdersWithUser, { pageSize: -2_147_483_648 }, /^page_size: .*-2147483648/],
    [listItemsGroupedByUsers, { pageSize: -7 }, /^page_size: .*-7/],
    [listUsers, { pageToken: "garbage" }, /^page_token: /],
    [listUsers, { pageToken: "%00 \u{1f600}" }, /^page_token: /],
    [listUsers, { pageToken: "A".repeat(10_000) }, /^page_token: /],
    [listOrdersWithUser, { pageToken: "b3JkZXJzOjE" }, /^page_token: /],
    [listItemsGroupedByUsers, { pageToken: "-" }, /^page_token: /],
    [
      listOrdersWithUser,
      { userIds: Array<string>(501).fill("user-1") },
      /^user_ids: must contain no more than 500 item\(s\)$/,
    ],
  ];
  return cases.map(([method, request, says]) => {
    const body = JSON.stringify(request);
    return { name: `${method.name} ${body.slice(0, 60)}`, method, body, code: invalid, says };
  });
}

/** Bytes that are no protobuf, in every protocol. */
export function badProto(): BadRequest[] {
  const order = toBinary(
    CreateOrderRequestSchema,
    create(CreateOrderRequestSchema, { userId: "user-1", lineItems: [{ product: "Webcam", quantity: 1 }] }),
  );
  const cases: [name: string, body: Uint8Array, code?: string][] = [
    ["noise", Buffer.alloc(20, 0xff)],
    ["a message that is cut", order.subarray(0, order.length - 3)],
    ["a field longer than the message", Buffer.from([0x0a, 0x7f, 0x61])],
    ["a length of 4 GB", Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f])],
    ["a negative length", Buffer.from([0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01])],
    ["a number without end", Buffer.alloc(11, 0x88)],
    ["field number 0", Buffer.from([0x02, 0x01, 0x61])],
    ["a wire type that does not exist", Buffer.from([0x0f, 0x00])],
    ["a group that is not closed", Buffer.from([0x0b, 0x08, 0x01])],
    ["the end of a group that was not opened", Buffer.from([0x0c])],
    ["JSON", Buffer.from('{"userId":"user-1"}')],
    ["more than the limit", Buffer.alloc(300_000, 0x20), "resource_exhausted"],
  ];
  return cases.flatMap(([name, bytes, code = invalid]) =>
    (["connect+proto", "grpc", "grpc-web"] as const).map((way) => ({
      name: `${name}, over ${way}`,
      method: createOrder,
      way,
      body: way === "connect+proto" ? bytes : envelope(bytes),
      code,
      says: code === invalid ? /not valid protobuf/ : /larger than 262144 bytes/,
    })),
  );
}

/** Messages in envelopes that lie. */
export function badEnvelopes(): BadRequest[] {
  const request = toBinary(GetUserRequestSchema, create(GetUserRequestSchema, { id: "user-1" }));
  const whole = envelope(request);
  const two = Buffer.concat([whole, whole]);
  const grpc: [name: string, body: Uint8Array, code: string][] = [
    ["no message", Buffer.alloc(0), "unimplemented"],
    ["half an envelope", whole.subarray(0, 3), invalid],
    ["half a message", whole.subarray(0, 8), invalid],
    ["a message that is shorter than announced", envelope(request, 0, 100), invalid],
    ["a length beyond the limit", envelope(request, 0, 300_000), "resource_exhausted"],
    ["a length of 4 GB", envelope(request, 0, 0xffff_ffff), "resource_exhausted"],
    ["two messages", two, "unimplemented"],
    ["a message and a half", Buffer.concat([whole, whole.subarray(0, 7)]), invalid],
    ["a compressed message without an encoding", envelope(gzipSync(request), 1), invalid],
  ];
  const backlog = envelope('{"backlog":1}');
  const streams: [name: string, body: Uint8Array, code: string][] = [
    ["no message", Buffer.alloc(0), "unimplemented"],
    ["a message without an envelope", Buffer.from('{"backlog":1}'), "resource_exhausted"],
    ["half an envelope", backlog.subarray(0, 4), invalid],
    ["half a message", backlog.subarray(0, 9), invalid],
    ["a length beyond the limit", envelope("{}", 0, 300_000), "resource_exhausted"],
    ["two messages", Buffer.concat([backlog, backlog]), "unimplemented"],
    ["the end of a stream as its only message", envelope("{}", 2), "unimplemented"],
    ["a compressed message without an encoding", envelope(gzipSync('{"backlog":1}'), 1), invalid],
  ];
  const ways: readonly Way[] = ["grpc", "grpc-web"];
  return [
    ...ways.flatMap((way) =>
      grpc.map(([name, body, code]) => ({ name: `${name}, over ${way}`, method: getUser, way, body, code })),
    ),
    ...streams.map(([name, body, code]) => ({
      name: `${name}, over connect's stream`,
      method: watchOrdersWithUser,
      body,
      code,
    })),
  ];
}

/** Compressed requests that cannot be read, or that are bombs. */
export function badCompression(): BadRequest[] {
  const bomb = gzipSync(Buffer.alloc(50 * 2 ** 20, 0x20));
  const user = gzipSync('{"id":"user-1"}');
  const gzip = { "content-encoding": "gzip" };
  const grpcGzip = { "grpc-encoding": "gzip" };
  const large = "resource_exhausted";
  return [
    {
      name: "a bomb over connect+json",
      method: getUser,
      headers: gzip,
      body: bomb,
      code: large,
      says: /larger/,
    },
    {
      name: "a bomb over grpc",
      method: getUser,
      way: "grpc",
      headers: grpcGzip,
      body: envelope(bomb, 1),
      code: large,
    },
    {
      name: "a bomb over grpc-web",
      method: getUser,
      way: "grpc-web",
      headers: grpcGzip,
      body: envelope(bomb, 1),
      code: large,
    },
    { name: "no gzip at all", method: getUser, headers: gzip, body: '{"id":"user-1"}', code: invalid },
    { name: "gzip that is cut", method: getUser, headers: gzip, body: user.subarray(0, 20), code: invalid },
    {
      name: "no gzip at all, over grpc",
      method: getUser,
      way: "grpc",
      headers: grpcGzip,
      body: envelope("text", 1),
      code: invalid,
    },
    ...["br", "zstd", "snappy", "gzip, gzip", "../x"].map((encoding) => ({
      name: `the encoding ${encoding}`,
      method: getUser,
      headers: { "content-encoding": encoding },
      body: user,
      code: "unimplemented",
      says: /gzip/,
    })),
    {
      name: "an unknown encoding over grpc",
      method: getUser,
      way: "grpc",
      headers: { "grpc-encoding": "zstd" },
      body: envelope("x", 1),
      code: "unimplemented",
    },
  ];
}
