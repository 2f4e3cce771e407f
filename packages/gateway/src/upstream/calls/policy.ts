import type { DescMethod, DescService } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { Code } from "@connectrpc/connect";
import { checkSessionOptions, defaultSessionOptions } from "../session/options.ts";
import { breakerProblems, hedgeProblems, retryProblems, timeProblem, wholeProblem } from "./checks.ts";
import type {
  BreakerOptions,
  CallOptions,
  ConnectionOptions,
  HedgeOptions,
  RetryOptions,
  UpstreamMethodOptions,
} from "./options.ts";

/** How calls to an upstream are made: its options, with every default in its place. */
export interface CallPolicy {
  /** The same for all methods that have no time-out of their own. */
  readonly timeoutMs: number;
  readonly maxConcurrent: number;
  readonly breaker: Required<BreakerOptions> | undefined;
  readonly connection: ConnectionOptions;
  /** How calls of each method that a gateway can call are made, by its local name. */
  readonly methods: ReadonlyMap<string, MethodCallPolicy>;
}

/** How calls of one method are made. */
export interface MethodCallPolicy {
  /** Absent for a stream that has the public call's deadline alone. */
  readonly timeoutMs: number | undefined;
  /** Whether a call can be made twice without harm. */
  readonly idempotent: boolean;
  readonly retry: RetryPolicy | undefined;
  readonly hedge: Required<HedgeOptions> | undefined;
}

/** {@link RetryOptions} with its defaults. */
export type RetryPolicy = Required<Omit<RetryOptions, "attemptTimeoutMs" | "codes">> & {
  readonly codes: ReadonlySet<Code>;
  readonly attemptTimeoutMs: number | undefined;
};

const defaultBreaker = { failureRatio: 0.5, minCalls: 20, windowMs: 10_000, openMs: 1_000 };

/**
 * Works out how calls are made. Throws a `TypeError` that names the upstream and every option that cannot be, with what
 * would do.
 */
export function callPolicy(name: string, service: DescService, options: CallOptions): CallPolicy {
  const problems = problemsOf(service, options);
  if (problems.length > 0) throw new TypeError(`upstream ${name}: ${problems.join("; ")}`);
  const { timeoutMs = 5_000, maxConcurrent = 256, breaker, connection = {} } = options;
  checkConnection(name, connection);
  return {
    timeoutMs,
    maxConcurrent,
    breaker: breaker === false ? undefined : { ...defaultBreaker, ...breaker },
    connection,
    methods: new Map(
      service.methods
        .filter(isCallable)
        .map((method) => [
          method.localName,
          methodPolicy(method, options.methods?.[method.localName], { timeoutMs, retry: options.retry }),
        ]),
    ),
  };
}

function methodPolicy(
  method: DescMethod,
  own: UpstreamMethodOptions = {},
  of: { readonly timeoutMs: number; readonly retry: RetryOptions | false | undefined },
): MethodCallPolicy {
  if (method.methodKind !== "unary")
    return { timeoutMs: own.timeoutMs, idempotent: false, retry: undefined, hedge: undefined };
  const idempotent = isIdempotent(method) || own.idempotent === true;
  const retry = own.retry ?? of.retry;
  const isRetried = idempotent && own.hedge === undefined && retry !== false;
  return {
    timeoutMs: own.timeoutMs ?? of.timeoutMs,
    idempotent,
    retry: isRetried ? retryPolicy(retry) : undefined,
    hedge: own.hedge && { maxAttempts: 2, ...own.hedge },
  };
}

function retryPolicy({ codes = [Code.Unavailable], ...options }: RetryOptions = {}): RetryPolicy {
  return {
    maxAttempts: 3,
    minDelayMs: Math.min(25, options.maxDelayMs ?? 25),
    maxDelayMs: Math.max(250, options.minDelayMs ?? 250),
    attemptTimeoutMs: undefined,
    ...options,
    codes: new Set(codes),
  };
}

function problemsOf(service: DescService, options: CallOptions): string[] {
  const { timeoutMs = 5_000, retry, breaker, methods = {} } = options;
  return [
    ...timeProblem("timeoutMs", options.timeoutMs),
    ...wholeProblem("maxConcurrent", options.maxConcurrent, 1, 1_000_000),
    ...(retry === false ? [] : retryProblems("retry.", retry, timeoutMs)),
    ...(breaker === false ? [] : breakerProblems("breaker.", breaker)),
    ...Object.entries(methods).flatMap(([localName, own]) =>
      own === undefined ? [] : methodProblems(service, localName, own, options),
    ),
  ];
}

function methodProblems(
  service: DescService,
  localName: string,
  own: UpstreamMethodOptions,
  of: CallOptions,
): string[] {
  const place = `methods.${localName}`;
  const method = service.methods.find((method) => method.localName === localName);
  if (method === undefined || !isCallable(method)) {
    const known = service.methods.filter(isCallable).map(({ localName }) => localName);
    return [`${place} is no method that a gateway can call: those are ${known.join(", ")}`];
  }
  const { retry, hedge, timeoutMs = of.timeoutMs ?? 5_000 } = own;
  return [
    ...timeProblem(`${place}.timeoutMs`, own.timeoutMs),
    ...(retry === undefined || retry === false ? [] : retryProblems(`${place}.retry.`, retry, timeoutMs)),
    ...(hedge === undefined ? [] : hedgeProblems(`${place}.hedge.`, hedge)),
    ...kindProblems(place, method, own),
  ];
}

/** What the method is not made for. */
function kindProblems(place: string, method: DescMethod, own: UpstreamMethodOptions): string[] {
  const { idempotent, retry, hedge } = own;
  if (method.methodKind !== "unary") {
    const given = Object.entries({ idempotent, retry, hedge }).filter(([, value]) => value !== undefined);
    return given.map(([option]) => `${place}.${option} makes no sense for a stream: leave it out`);
  }
  const problems: string[] = [];
  if (retry && !isIdempotent(method) && idempotent !== true)
    problems.push(
      `${place}.retry needs a method that can be called twice without harm: say idempotent: true, or idempotency_level in the proto`,
    );
  if (hedge && !hasNoSideEffects(method))
    problems.push(`${place}.hedge needs idempotency_level = NO_SIDE_EFFECTS in the proto`);
  if (retry && hedge) problems.push(`${place} has both retry and hedge: a hedged call is not retried`);
  return problems;
}

function checkConnection(name: string, connection: ConnectionOptions): void {
  try {
    checkSessionOptions(name, { ...defaultSessionOptions, ...connection });
  } catch (error) {
    throw new TypeError(error instanceof Error ? error.message : String(error), { cause: error });
  }
}

/** The methods that a gateway calls: it has no streams of requests. */
function isCallable({ methodKind }: DescMethod): boolean {
  return methodKind === "unary" || methodKind === "server_streaming";
}

function hasNoSideEffects({ idempotency }: DescMethod): boolean {
  return idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

function isIdempotent(method: DescMethod): boolean {
  return hasNoSideEffects(method) || method.idempotency === MethodOptions_IdempotencyLevel.IDEMPOTENT;
}
