import type { Code } from "@connectrpc/connect";
import type { Reason } from "../reasons.ts";
import { noSpan, type Span } from "./span.ts";

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
  /** The bytes of the body that came, and of the one that went, as far as they passed. */
  requestBytes: number;
  responseBytes: number;
  /** The calls to internal services that were made for it: the first of them. */
  readonly upstreamCalls: UpstreamCallRecord[];
  /** What loaders fetched for it: the first batches. */
  readonly batches: BatchRecord[];
  /** What the work for it is traced by. */
  readonly span: Span;
  /** Who is told of every upstream call and batch, also of those that the record does not keep. */
  readonly observer: CallObserver;
}

/** One call to an internal service, with all of its attempts. */
export interface UpstreamCallRecord {
  /** The name of the upstream and its method: `users.batchGetUsers`. */
  readonly call: string;
  /** Milliseconds until it had ended. */
  readonly durationMs: number;
  /** How it ended. */
  readonly outcome: "ok" | Code;
  /** How often it was sent: 1 without a retry, 0 if it was held back. */
  readonly attempts: number;
  /** Whether a second attempt was sent while the first was on its way. */
  readonly hedged: boolean;
}

/** One batch of a loader. */
export interface BatchRecord {
  /** `users.batchGetUsers`. */
  readonly loader: string;
  /** How many keys it was for. */
  readonly keys: number;
  /** Milliseconds until it had ended. */
  readonly durationMs: number;
  /** How it ended. */
  readonly outcome: "ok" | Code;
}

/** Whoever counts what calls do. */
export interface CallObserver {
  upstreamCall(call: UpstreamCallRecord): void;
  batch(batch: BatchRecord): void;
}

/** What a request is watched by. */
export type Watch = Pick<CallRecord, "span" | "observer">;

/** Watches nothing. */
export const unwatched: Watch = Object.freeze<Watch>({
  span: noSpan,
  observer: Object.freeze<CallObserver>({ upstreamCall() {}, batch() {} }),
});

/** Starts a record. */
export function createCallRecord(
  request: Pick<CallRecord, "requestId" | "httpMethod" | "path" | "address">,
  watch: Watch = unwatched,
): CallRecord {
  return {
    ...request,
    ...watch,
    startedAt: performance.now(),
    requestBytes: 0,
    responseBytes: 0,
    upstreamCalls: [],
    batches: [],
  };
}

/** A stream can make calls without end: the record keeps the first of them. */
const maxKept = 100;

/** Notes a call to an internal service. */
export function recordUpstreamCall(record: CallRecord, call: UpstreamCallRecord): void {
  if (record.upstreamCalls.length < maxKept) record.upstreamCalls.push(call);
  record.observer.upstreamCall(call);
}

/** Notes a batch of a loader. */
export function recordBatch(record: CallRecord, batch: BatchRecord): void {
  if (record.batches.length < maxKept) record.batches.push(batch);
  record.observer.batch(batch);
}
