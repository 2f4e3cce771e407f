import type { DescField, DescMethod } from "@bufbuild/protobuf";
import type { LoaderScope } from "./consolidation/loaders/scope.ts";
import type { MissingParts } from "./consolidation/partial/partial.ts";
import type { CallRecord } from "./observe/call-record.ts";
import type { Principal } from "./policy/principal.ts";
import type { Rights } from "./policy/rights.ts";
import type { UpstreamClients } from "./upstream/clients.ts";

/**
 * One admitted call: what `admit` found out, handed to everything that works for the call.
 *
 * A handler passes it on to upstreams, loaders and views, and seldom looks inside.
 */
export interface Call {
  /** The public method that is called. */
  readonly method: DescMethod;
  /** Names the call in the answer, the log and the calls to upstreams. */
  readonly requestId: string;
  /** Who calls. */
  readonly principal: Principal;
  /** What the caller may do. */
  readonly rights: Pick<Rights, "has" | "key" | "audience">;
  /** The public fields that the caller may not read: they are left out of the answer, and nothing is fetched for them. */
  readonly hidden: ReadonlySet<DescField>;
  /**
   * The public fields that the answer will not have, at no place: those that are hidden, and those that the caller did not
   * select. Views make none of them, and fetch nothing for them.
   */
  readonly omitted: ReadonlySet<DescField>;
  /** Aborts when the deadline passes, the caller leaves, or the call is over. */
  readonly signal: AbortSignal;
  /** Milliseconds until the deadline; negative once it has passed. */
  readonly remainingMs: () => number;
  /**
   * Rejects if the caller could not have made the call now: its credentials were revoked or have expired, or its roles
   * may do other things. For what goes on longer than a moment.
   */
  readonly recheck: () => Promise<void>;
  /** The connections to the internal services. */
  readonly upstreams: UpstreamClients;
  /** What the loaders have fetched for this call. */
  readonly loaders: LoaderScope;
  /** What the answer will lack, although the call goes on. */
  readonly missing: MissingParts;
  /** What the log will say about the call. */
  readonly record: CallRecord;
}
