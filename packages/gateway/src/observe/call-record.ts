import type { Code } from "@connectrpc/connect";
import type { Reason } from "../reasons.ts";

/** What is known about one request when it is over; the request log writes it down. Never holds bodies or tokens. */
export interface CallRecord {
  /** The id in `x-request-id`. */
  readonly requestId: string;
  /** The HTTP method. */
  readonly httpMethod: string;
  /** The path without the query, as it was sent. */
  readonly path: string;
  /** Where the request came from, as far as the proxies on the way are trusted. */
  readonly address: string;
  /** `performance.now()` when the headers were there. */
  readonly startedAt: number;
  /** `connect`, `grpc` or `grpc-web`; absent for anything that is no RPC. */
  protocol?: string;
  /** `package.Service/Method`; absent for anything that is no RPC. */
  rpc?: string;
  /** Who called: a subject, or `anonymous`. */
  caller?: string;
  /** Where the answer of a cached method came from. */
  answer?: "run" | "cache" | "stale" | "coalesced" | "shared";
  /**
   * For how long the answer of a cached method is still as good as new, and for how long after that it may be given while
   * a new one is fetched, in milliseconds. Absent if the answer is not whole.
   */
  lifetime?: { readonly freshMs: number; readonly staleMs: number };
  /** How the RPC ended. */
  outcome?: "ok" | Code;
  /** The reason that its caller was given. */
  reason?: Reason | undefined;
  /** Why it failed, in full. */
  error?: unknown;
  /** What the answer lacks, although the RPC succeeded: how many fields, and why the first of them, in full. */
  partial?: { readonly count: number; readonly cause: unknown };
  /** The calls to internal services that were made for it. */
  readonly upstreamCalls: UpstreamCallRecord[];
}

/** One call to an internal service. */
export interface UpstreamCallRecord {
  /** The name of the upstream and its method: `users.batchGetUsers`. */
  readonly call: string;
  /** Milliseconds until it had ended. */
  readonly durationMs: number;
  /** How it ended. */
  readonly outcome: "ok" | Code;
}

/** Starts a record. */
export function createCallRecord(
  request: Pick<CallRecord, "requestId" | "httpMethod" | "path" | "address">,
): CallRecord {
  return { ...request, startedAt: performance.now(), upstreamCalls: [] };
}

/** A stream can make calls without end: the record keeps the first of them. */
const maxUpstreamCalls = 100;

/** Notes a call to an internal service. */
export function recordUpstreamCall(record: CallRecord, call: UpstreamCallRecord): void {
  if (record.upstreamCalls.length < maxUpstreamCalls) record.upstreamCalls.push(call);
}
