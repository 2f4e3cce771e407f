import type { DescMethod } from "@bufbuild/protobuf";
import type { Call } from "./call.ts";
import { createLoaderScope } from "./consolidation/loader.ts";
import { beforeAbort, type Deadline, startDeadline } from "./deadline.ts";
import type { CallRecord } from "./observe/call-record.ts";
import type { Authenticate } from "./policy/authenticate.ts";
import type { Authorize } from "./policy/authorize.ts";
import { entryOf, type MethodEntry, type MethodTable } from "./policy/method-table.ts";
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
 * Errors: `unauthenticated`, `permission_denied`; `unavailable` if credentials cannot be verified now;
 * `deadline_exceeded` if that takes longer than the call may.
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
  /** Ends all streams, with its reason, when the gateway stops: unlike unary calls, they would not end by themselves. */
  readonly draining: AbortSignal;
}

/** Creates the one way into the gateway. */
export function createAdmit({ methods, authenticate, authorize, ...parts }: AdmitParts): Admit {
  return async (arrival) => {
    const entry = entryOf(methods, arrival.method);
    const deadline = deadlineOf(entry, arrival, parts);
    const principal = await beforeAbort(deadline.signal, authenticate(arrival.headers));
    arrival.record.caller = principal.kind === "anonymous" ? principal.kind : principal.subject;
    authorize(entry, principal);
    return {
      method: entry.method,
      requestId: arrival.record.requestId,
      principal,
      ...deadline,
      upstreams: parts.upstreams,
      loaders: createLoaderScope(isUnary(entry) ? "call" : "batch"),
      record: arrival.record,
    };
  };
}

/** A caller who asks for more time than there is gets what there is, as from any proxy on the way. */
function deadlineOf(
  entry: MethodEntry,
  { timeoutMs, signal }: Arrival,
  { deadlines: { defaultMs, maxMs, streamMs }, draining }: Pick<AdmitParts, "deadlines" | "draining">,
): Deadline {
  if (isUnary(entry)) return startDeadline(Math.min(timeoutMs ?? defaultMs, maxMs), signal);
  return startDeadline(Math.min(timeoutMs ?? streamMs, streamMs), signal, draining);
}

function isUnary({ method }: MethodEntry): boolean {
  return method.methodKind === "unary";
}
