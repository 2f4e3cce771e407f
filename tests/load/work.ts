import { create, type DescMethod, type MessageInitShape } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { OrdersService } from "../../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import type { GatewayProcess } from "../harness/gateway-process.ts";
import { type LoadOptions, type LoadSummary, summarize } from "../harness/load.ts";
import { startLoadProcess } from "../harness/load-process.ts";
import { type PreparedRequest, prepare } from "../harness/requests.ts";

/** The most connections of one load: those of a balancer, or of a few hundred pages. */
export const connections = 200;

/** What callers allow for a call, in milliseconds: none must fail because a machine is slow. */
const timeoutMs = 10_000;

/** A page of orders, each with its user: the join that the gateway is for. Of each caller, with the answer it must be. */
export function joins(gateway: GatewayProcess, subjects: readonly string[]): Promise<PreparedRequest[]> {
  return callsOf(gateway, subjects, OrdersService.method.listOrdersWithUser, { pageSize: 20 });
}

/** One user: the least that a call can be. */
export function lookups(gateway: GatewayProcess, subjects: readonly string[]): Promise<PreparedRequest[]> {
  return callsOf(gateway, subjects, UsersService.method.getUser, { id: "user-1" });
}

/** A page of orders without their users: a call that needs one service alone. */
export function orderLists(gateway: GatewayProcess, subjects: readonly string[]): Promise<PreparedRequest[]> {
  const readMask = create(FieldMaskSchema, { paths: ["id", "status"] });
  return callsOf(gateway, subjects, OrdersService.method.listOrdersWithUser, { pageSize: 5, readMask });
}

/** The largest page of orders there is, asked for over HTTP/2. */
export async function largePages(gateway: GatewayProcess, callers: number): Promise<PreparedRequest[]> {
  const tokens = await Promise.all(names(callers).map((subject) => gateway.token("admin", subject)));
  const method = OrdersService.method.listOrdersWithUser;
  return tokens.map((token) => prepare("h2-json", method, { pageSize: 1_000 }, { token, timeoutMs }));
}

/** Names for callers. */
export function names(count: number, name = "caller"): string[] {
  return Array.from({ length: count }, (_, index) => `${name}-${index}`);
}

async function callsOf<M extends DescMethod>(
  gateway: GatewayProcess,
  subjects: readonly string[],
  method: M,
  message: MessageInitShape<M["input"]>,
): Promise<PreparedRequest[]> {
  const requests: PreparedRequest[] = [];
  for (const subject of subjects) {
    const token = await gateway.token("admin", subject);
    const request = prepare("h1-json", method, message, { token, timeoutMs });
    requests.push({ ...request, answer: await ask(gateway.url, request) });
  }
  return requests;
}

/** The answer to a request that must succeed. Who was asked once is known to the gateway. */
async function ask(url: string, { path, headers, body }: PreparedRequest): Promise<Uint8Array> {
  const response = await fetch(`${url}${path}`, { method: "POST", headers, body: Buffer.from(body) });
  if (response.status !== 200) throw new Error(`${path} gave ${response.status}: ${await response.text()}`);
  return new Uint8Array(await response.arrayBuffer());
}

/** What a gateway does at its best: calls a second, with as many callers as keep it busy. */
export async function capacityOf(
  gateway: GatewayProcess,
  requests: readonly PreparedRequest[],
  forMs: number,
): Promise<{ readonly perSecond: number; readonly summary: LoadSummary }> {
  const { url } = gateway;
  // Until the code is compiled.
  await run({ url, requests, pace: { callers: 16 }, lean: true, forMs });
  const summary = await run({ url, requests, pace: { callers: 16 }, lean: true, forMs });
  return { perSecond: (summary.ok / forMs) * 1_000, summary };
}

/** Runs a load in a process of its own, to its end. */
export async function run(options: LoadOptions): Promise<LoadSummary> {
  await using load = await startLoadProcess(options);
  return summarize(await load.done);
}
