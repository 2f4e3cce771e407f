import { create, type DescMethod, type MessageInitShape } from "@bufbuild/protobuf";
import { FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import { OrdersService } from "../../packages/gateway/src/gen/smpl/api/orders/v1/api_orders_service_pb.ts";
import { UsersService } from "../../packages/gateway/src/gen/smpl/api/users/v1/api_users_service_pb.ts";
import type { GatewayProcess } from "../harness/gateway-process.ts";
import { type LoadOptions, type LoadSummary, startLoad } from "../harness/load.ts";
import { type LoadWay, type PreparedRequest, prepare } from "../harness/requests.ts";

/** What callers allow for a call, in milliseconds. */
export const deadlineMs = 1_000;

/** What callers allow who must not fail for being on a slow machine, in milliseconds. */
export const patientMs = 10_000;

/**
 * The variables of a gateway that refuses nothing for the lag of its event loop: what else a machine does is not what
 * is tested here, and that refusal has tests of its own.
 */
export const unhurried = { MAX_LOOP_LAG_MS: "10000" } as const;

/** A call with the deadline of the programme. */
export function call<M extends DescMethod>(
  way: LoadWay,
  method: M,
  message: MessageInitShape<M["input"]>,
  token: string,
  timeoutMs = deadlineMs,
): PreparedRequest {
  return prepare(way, method, message, { token, timeoutMs });
}

/** A call that needs the service `users` alone. */
export function userCall(way: LoadWay, token: string, timeoutMs = deadlineMs): PreparedRequest {
  return call(way, UsersService.method.getUser, { id: "user-1" }, token, timeoutMs);
}

/** Calls that must not be sent twice: each of another caller, since one may make few of them. */
export async function writeCalls(way: LoadWay, gateway: GatewayProcess): Promise<PreparedRequest[]> {
  const subjects = Array.from({ length: 60 }, (_, index) => `writer-${index}`);
  const tokens = await Promise.all(subjects.map((subject) => gateway.token("admin", subject)));
  const message = { email: "ada@example.com" };
  return tokens.map((token) => call(way, UsersService.method.createUser, message, token));
}

/**
 * A call that needs the service `orders` alone: nothing is joined that nobody selected. It has time, so that no machine is
 * too slow for it: it must succeed whatever happens to others.
 */
export function orderCall(way: LoadWay, token: string): PreparedRequest {
  const readMask = create(FieldMaskSchema, { paths: ["id", "status"] });
  const message = { pageSize: 5, readMask };
  return call(way, OrdersService.method.listOrdersWithUser, message, token, patientMs);
}

/** One call, and how it ended: for waiting until something works. */
export async function codeOf(url: string, request: PreparedRequest): Promise<string> {
  const load = startLoad({ url, requests: [request], calls: 1, connections: 1 });
  const { codes, code } = await load.done;
  return codes[code[0] ?? 0] ?? "ok";
}

/** The codes that a load must not end with. For being late on a slow machine a figure is missed, and no test fails. */
export function strange({ codes }: LoadSummary, ...allowed: readonly string[]): string[] {
  return Object.keys(codes).filter((code) => code !== "deadline_exceeded" && !allowed.includes(code));
}

/** A load that does not fill the machine: what is measured is the gateway in trouble, not out of breath. */
export const steady = {
  pace: { callers: 8, pauseMs: 10 },
  connections: 8,
} satisfies Partial<LoadOptions>;

/** A number for people. */
export function ms(value: number): string {
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** How a load went, in a few words. */
export function inWords({ count, codes, p50, p99 }: LoadSummary): string {
  const parts = Object.entries(codes).map(([code, times]) => `${times} ${code}`);
  return `${count} calls: ${parts.join(", ")}; p50 ${ms(p50)}, p99 ${ms(p99)}`;
}

/** Why calls failed, as the gateway's log says it, with how often: what to look at first when a test fails. */
export function causes(gateway: GatewayProcess): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { msg, path, rpc = path, code, reason, err } of gateway.log()) {
    const message = typeof err === "object" && err !== null && "message" in err ? String(err.message) : "";
    const cause = [msg, rpc, code, reason, message].map((part) => String(part ?? "")).join(" ");
    counts[cause] = (counts[cause] ?? 0) + 1;
  }
  return counts;
}
