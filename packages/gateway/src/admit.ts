import { setMaxListeners } from "node:events";
import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Call } from "./call.ts";
import { createLoaderScope } from "./consolidation/loader.ts";
import { PublicError } from "./errors.ts";
import type { CallRecord } from "./observe/call-record.ts";
import type { Authenticate } from "./policy/authenticate.ts";
import type { Authorize } from "./policy/authorize.ts";
import type { MethodEntry, MethodTable } from "./policy/method-table.ts";
import type { Principal } from "./policy/principal.ts";
import type { UpstreamClients } from "./upstream/clients.ts";

/** What is known of a call when its headers are there. */
export interface Arrival {
  readonly method: DescMethod;
  readonly headers: Headers;
  /** What the caller allows for the call, in milliseconds; `undefined` if it does not say. */
  readonly timeoutMs: number | undefined;
  /** Aborts when the caller leaves, and when the transport is through with the call. */
  readonly signal: AbortSignal;
  readonly record: CallRecord;
}

/**
 * Decides whether a call may go on, from its headers alone and before its body is read.
 *
 * Errors: `unauthenticated`, `permission_denied`; `unavailable` if credentials cannot be verified now.
 */
export type Admit = (arrival: Arrival) => Promise<Call>;

/** How long calls may take, in milliseconds. */
export interface DeadlineOptions {
  /** For a unary call whose caller does not say. */
  readonly defaultMs: number;
  /** For a unary call whose caller asks for more. */
  readonly maxMs: number;
  /** For a stream. */
  readonly streamMs: number;
}

/** What `admit` works with. */
export interface AdmitParts {
  readonly methods: MethodTable;
  readonly authenticate: Authenticate;
  readonly authorize: Authorize;
  readonly upstreams: UpstreamClients;
  readonly deadlines: DeadlineOptions;
}

/** Creates the one way into the gateway. */
export function createAdmit({ methods, authenticate, authorize, upstreams, deadlines }: AdmitParts): Admit {
  return async (arrival) => {
    const entry = methods.get(arrival.method);
    if (entry === undefined) throw new Error(`${arrival.method.toString()} is not in the method table`);
    const principal = await authenticate(arrival.headers);
    arrival.record.caller = principal.kind === "anonymous" ? principal.kind : principal.subject;
    authorize(entry, principal);
    return createCall(entry, arrival, principal, upstreams, deadlineOf(entry, arrival, deadlines));
  };
}

function createCall(
  { method }: MethodEntry,
  { record, signal }: Arrival,
  principal: Principal,
  upstreams: UpstreamClients,
  timeoutMs: number,
): Call {
  const endsAt = performance.now() + timeoutMs;
  return {
    method,
    requestId: record.requestId,
    principal,
    signal: withDeadline(signal, timeoutMs),
    remainingMs: () => endsAt - performance.now(),
    upstreams,
    loaders: createLoaderScope(),
    record,
  };
}

/** A caller who asks for more than there is gets what there is, as from any proxy on the way. */
function deadlineOf(
  { method }: MethodEntry,
  { timeoutMs }: Arrival,
  { defaultMs, maxMs, streamMs }: DeadlineOptions,
): number {
  if (method.methodKind !== "unary") return Math.min(timeoutMs ?? streamMs, streamMs);
  return Math.min(timeoutMs ?? defaultMs, maxMs);
}

/** A signal that ends with the caller's or at the deadline, whichever comes first. */
function withDeadline(signal: AbortSignal, timeoutMs: number): AbortSignal {
  const controller = new AbortController();
  // One call can have any number of upstream calls at a time, each of which listens.
  setMaxListeners(0, controller.signal);
  const timer = setTimeout(() => controller.abort(deadlineExceeded()), timeoutMs);
  const end = () => {
    clearTimeout(timer);
    controller.abort(isDeadline(signal.reason) ? deadlineExceeded() : signal.reason);
  };
  if (signal.aborted) end();
  else signal.addEventListener("abort", end, { once: true });
  return controller.signal;
}

/** The transport has a timer of its own for the time-out that the caller asked for. */
function isDeadline(reason: unknown): boolean {
  return reason instanceof ConnectError && reason.code === Code.DeadlineExceeded;
}

function deadlineExceeded(): PublicError {
  return new PublicError(Code.DeadlineExceeded, "The call took longer than it may.");
}
