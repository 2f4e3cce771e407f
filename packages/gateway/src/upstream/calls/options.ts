import type { DescService } from "@bufbuild/protobuf";
import type { Code } from "@connectrpc/connect";
import type { SessionOptions } from "../session/options.ts";

/**
 * When a call that failed is made again. Only calls that may be: those of methods whose `idempotency_level` is
 * `NO_SIDE_EFFECTS` or `IDEMPOTENT`, and of those that are said to be `idempotent`. All retries to an upstream
 * together have a budget of a tenth of its successful calls.
 */
export interface RetryOptions {
  /** How often a call is made at the most, the first time included: from 2 to 5. Default: 3. */
  readonly maxAttempts?: number;
  /** The codes after which it is made again. Default: `unavailable` alone. */
  readonly codes?: readonly Code[];
  /** The shortest wait before a retry, in milliseconds. Default: 25. */
  readonly minDelayMs?: number;
  /** The longest wait before a retry, in milliseconds. Waits are random, and get longer. Default: 250. */
  readonly maxDelayMs?: number;
  /**
   * How long one attempt may take, in milliseconds, so that a silent upstream leaves time for another. Must be less than
   * the method's `timeoutMs`. Default: as long as the call.
   */
  readonly attemptTimeoutMs?: number;
}

/**
 * When a call that has not been answered yet is made once more, to have the faster answer of both. The other call is
 * cancelled. Takes the place of retries, and has the same budget.
 */
export interface HedgeOptions {
  /** How long an answer is waited for, in milliseconds: what 95 of 100 calls take at the most is a good start. */
  readonly delayMs: number;
  /** How often a call is made at the most, the first time included: from 2 to 5. Default: 2. */
  readonly maxAttempts?: number;
}

/** When an upstream is left alone for a moment. */
export interface BreakerOptions {
  /** The part of the calls that must fail within the window: above 0, at most 1. Default: 0.5. */
  readonly failureRatio?: number;
  /** How many calls there must be within it. Default: 20. */
  readonly minCalls?: number;
  /** How far back calls count, in milliseconds. Default: 10,000. */
  readonly windowMs?: number;
  /** For how long no call is made then, in milliseconds. After that, one call tries. Default: 1,000. */
  readonly openMs?: number;
}

/** How calls of one method are made, in place of what its upstream says. gRPC's term is method config. */
export interface UpstreamMethodOptions {
  /** How long one call may take with all of its attempts, in milliseconds. Of a stream, how long it may be open. */
  readonly timeoutMs?: number;
  /** That a call can be made twice without harm, for a proto that does not say `idempotency_level`. */
  readonly idempotent?: true;
  /** For unary methods that are idempotent. `false`: never. */
  readonly retry?: RetryOptions | false;
  /** For unary methods without side effects, whose proto says so. Default: none. */
  readonly hedge?: HedgeOptions;
}

/** The options of an upstream that are about its calls and connections. */
export interface CallOptions<S extends DescService = DescService> {
  /**
   * How long one unary call may take with all of its attempts, in milliseconds; the public call's own deadline may make it
   * shorter. A stream has the public call's deadline alone. Default: 5,000.
   */
  readonly timeoutMs?: number;
  /**
   * How many unary calls to the upstream may be in flight, from each replica of the gateway; and as many streams. One more
   * is refused at once, so that a slow service cannot take the others down. Default: 256.
   */
  readonly maxConcurrent?: number;
  /** What happens to calls that fail. `false`: they are not made again. */
  readonly retry?: RetryOptions | false;
  /** When the upstream is left alone since it fails. `false`: never. */
  readonly breaker?: BreakerOptions | false;
  /** How calls of single methods are made, by their local names. */
  readonly methods?: { readonly [K in keyof S["method"]]?: UpstreamMethodOptions };
  /** How connections are made, watched and shared. */
  readonly connection?: ConnectionOptions;
}

/** The options of a session that an upstream can have. */
export type ConnectionOptions = Partial<
  Pick<
    SessionOptions,
    | "connectTimeoutMs"
    | "pingIntervalMs"
    | "pingTimeoutMs"
    | "maxAgeMs"
    | "dnsTtlMs"
    | "connections"
    | "maxConnections"
    | "healthCheck"
  >
>;
