import type { DescMethod } from "@bufbuild/protobuf";
import type { Call } from "./call.ts";
import type { EntityCache } from "./consolidation/entities/entity-cache.ts";
import { createLoaderScope } from "./consolidation/loaders/scope.ts";
import { createMissingParts } from "./consolidation/partial/partial.ts";
import { beforeAbort, type Deadline, startDeadline } from "./deadline.ts";
import { PublicError } from "./errors.ts";
import type { Audit } from "./observe/audit.ts";
import type { CallRecord } from "./observe/call-record.ts";
import { authorize, refuseOutsiders } from "./policy/authorize.ts";
import type { Authenticate } from "./policy/identity/authenticate.ts";
import type { ClientCertificate } from "./policy/identity/certificates.ts";
import type { Meter } from "./policy/limits/meter.ts";
import { entryOf, type MethodEntry, type MethodTable } from "./policy/method-table.ts";
import type { Principal } from "./policy/principal.ts";
import type { Rights, RightsOf } from "./policy/rights.ts";
import type { Reason } from "./reasons.ts";
import type { UpstreamClients } from "./upstream/clients.ts";

/** What is known of a call when its headers are there. */
export interface Arrival {
  readonly method: DescMethod;
  readonly headers: Headers;
  /** The certificate that the caller's connection was made with. */
  readonly certificate: ClientCertificate | undefined;
  /** What the caller allows for the call, in milliseconds; `undefined` if it does not say. */
  readonly timeoutMs: number | undefined;
  /** Aborts when the caller leaves, and when the transport is through with the call. */
  readonly signal: AbortSignal;
  readonly record: CallRecord;
  /** Puts a header on the answer, whether it is one or an error. */
  readonly setHeader: (name: string, value: string) => void;
  /** What the protocol sends before and after an answer: for what stands in for `invoke`. */
  readonly responseHeader: Headers;
  readonly responseTrailer: Headers;
}

/**
 * Decides whether a call may go on, from its headers alone and before its body is read.
 *
 * Errors: `unauthenticated`, `permission_denied`, `resource_exhausted` for too many calls; `unimplemented` for a method
 * that is made for others; `unavailable` if credentials cannot be verified now; `deadline_exceeded` if all that takes
 * longer than the call may.
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
  readonly rightsOf: RightsOf;
  readonly meter: Meter;
  readonly audit: Audit;
  readonly upstreams: UpstreamClients;
  /** What is kept of entities beyond a call; absent where nothing is. */
  readonly entities?: EntityCache | undefined;
  readonly deadlines: DeadlineOptions;
  /** Ends all streams, with its reason, when the gateway stops: unlike unary calls, they would not end by themselves. */
  readonly draining: AbortSignal;
}

/** Creates the one way into the gateway. */
export function createAdmit(parts: AdmitParts): Admit {
  const { methods, upstreams, entities } = parts;
  const { decide, recheck } = createDecisions(parts);
  return async (arrival) => {
    const { record } = arrival;
    const entry = entryOf(methods, arrival.method);
    const deadline = deadlineOf(entry, arrival, parts);
    const { principal, rights } = await beforeAbort(deadline.signal, decide(entry, arrival));
    const hidden = entry.hiddenFrom(rights);
    return {
      method: entry.method,
      requestId: record.requestId,
      principal,
      rights,
      hidden,
      // What the caller does not select is known when the body is.
      omitted: hidden,
      ...deadline,
      recheck: () => recheck(arrival, rights),
      upstreams,
      loaders: createLoaderScope(isUnary(entry) ? "call" : "batch", entities),
      missing: createMissingParts(entry.method.output),
      record,
    };
  };
}

interface Decision {
  readonly principal: Principal;
  readonly rights: Rights;
}

/** Who calls, how often, and may they? Every refusal is in the audit log. */
function createDecisions({ authenticate, rightsOf, meter, audit }: AdmitParts) {
  return {
    decide: async (entry: MethodEntry, arrival: Arrival): Promise<Decision> => {
      const { record } = arrival;
      let principal: Principal | undefined;
      try {
        principal = await authenticate(arrival);
        record.caller = "subject" in principal ? principal.subject : principal.kind;
        const rights = rightsOf(principal);
        // Before the call is counted: the headers that say so name the method's own limit.
        refuseOutsiders(entry, rights);
        await meter.charge(entry, principal, arrival);
        authorize(entry, principal, rights);
        return { principal, rights };
      } catch (error) {
        const refusal = principal === undefined ? await spent(error, arrival, meter) : error;
        if (refusal instanceof PublicError) audit.refused(record, principal, refusal);
        throw refusal;
      }
    },
    recheck: async (arrival: Arrival, rights: Rights): Promise<void> => {
      const now = await authenticate(arrival).catch((error: unknown) => {
        // That they cannot be verified now is no reason to doubt credentials that were.
        if (error instanceof PublicError && error.reason === "CREDENTIALS_UNVERIFIABLE") return undefined;
        throw error;
      });
      if (now !== undefined && rightsOf(now).key !== rights.key) throw new PublicError("RIGHTS_CHANGED");
    },
  };
}

/** Whoever sends credentials that do not do spends the calls of its address: the refusal may be that it has none left. */
async function spent(error: unknown, arrival: Arrival, meter: Meter): Promise<unknown> {
  if (!(error instanceof PublicError) || !badCredentials.has(error.reason)) return error;
  return meter.chargeAddress(arrival).then(
    () => error,
    (refusal: unknown) => refusal,
  );
}

/** The reasons for which credentials are refused for good. */
export const badCredentials: ReadonlySet<Reason> = new Set<Reason>([
  "CREDENTIALS_INVALID",
  "CREDENTIALS_EXPIRED",
]);

/** A caller who asks for more time than there is gets what there is, as from any proxy on the way. */
function deadlineOf(
  entry: MethodEntry,
  { timeoutMs, signal }: Arrival,
  { deadlines: { defaultMs, maxMs, streamMs }, draining }: Pick<AdmitParts, "deadlines" | "draining">,
): Deadline {
  const ownMs = entry.timeoutMs ?? Number.POSITIVE_INFINITY;
  if (isUnary(entry))
    return startDeadline(Math.min(timeoutMs ?? entry.timeoutMs ?? defaultMs, ownMs, maxMs), signal);
  return startDeadline(Math.min(timeoutMs ?? streamMs, ownMs, streamMs), signal, draining);
}

function isUnary({ method }: MethodEntry): boolean {
  return method.methodKind === "unary";
}
