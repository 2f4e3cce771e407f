import { type DescMethod, type DescService, getOption, hasOption } from "@bufbuild/protobuf";
import { type Duration, durationMs, MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import {
  Audience as AudienceNumber,
  Cache_Scope,
  type MethodPolicy as MethodOptions,
  method as methodOption,
  type RateLimit,
  service as serviceOption,
} from "../gen/portico/v1/policy_pb.ts";
import type { CacheRule } from "./cache-rule.ts";
import { optionProblems } from "./option-rules.ts";
import type { Limit } from "./principal.ts";
import { type Audience, audiences } from "./rights.ts";

/** Who may call a method. */
export type MethodAccess =
  | { readonly kind: "anonymous" }
  | { readonly kind: "authenticated" }
  /** All of the permissions are needed: the method's, and that of its service. */
  | { readonly kind: "permission"; readonly permissions: readonly string[] };

/** The policy of a method, with what its service says for all of its methods. */
export interface MethodPolicy {
  readonly access: MethodAccess;
  readonly audience: Audience;
  /** CEL expressions that must all hold. */
  readonly conditions: readonly string[];
  /** How many calls' worth of the caller's common limit a call takes; 0 for what is free. */
  readonly cost: number;
  /** A limit of the method's own for each caller. */
  readonly bucket: Limit | undefined;
  readonly cache: CacheRule | undefined;
  /** The most time that a call may take, in milliseconds. */
  readonly timeoutMs: number | undefined;
  readonly maxRequestBytes: number | undefined;
  /** The field of the answer that the paths of the request's `read_mask` begin in. */
  readonly readMaskField: string | undefined;
}

/**
 * Reads the policy of a method from its options and those of its service, which it may tighten but not loosen.
 *
 * @param given for a method whose proto cannot say it; one that says it too is refused
 * @returns the policy, or what is wrong: each with the rpc, the option and what would do
 */
export function policyOf(method: DescMethod, given?: MethodOptions): MethodPolicy | readonly string[] {
  const written = hasOption(method, methodOption) ? getOption(method, methodOption) : undefined;
  const own = given ?? written;
  const common = serviceDefaults(method.parent);
  const name = `${method.parent.typeName}.${method.name}`;
  if (given !== undefined && written !== undefined)
    return [
      `${name} has a policy next to its rpc, and another one in its service, which would take its place: remove the latter`,
    ];
  const problems = [
    ...(own === undefined ? [] : optionProblems(own).map((it) => `${name}: (portico.v1.method).${it}`)),
    ...(common === undefined ? [] : defaultProblems(method.parent, common)),
  ];
  if (problems.length > 0) return [...new Set(problems)];
  if (own?.access.case === undefined && common?.access.case === undefined)
    return [
      describe(
        method,
        own === undefined ? "has no policy" : "has a policy that does not say who may call it",
      ),
    ];
  const loosened = looser(own, common).map(
    (field) =>
      `${name}: (portico.v1.method).${field} is more generous than what ${method.parent.name} says for all of its methods: a method may only be stricter`,
  );
  return loosened.length > 0 ? loosened : merge(method, own, common);
}

/** Whether a method says that its calls change nothing: `idempotency_level = NO_SIDE_EFFECTS`. */
export function isReadOnly({ idempotency }: DescMethod): boolean {
  return idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
}

function serviceDefaults(service: DescService): MethodOptions | undefined {
  return hasOption(service, serviceOption) ? getOption(service, serviceOption) : undefined;
}

function defaultProblems(service: DescService, common: MethodOptions): string[] {
  const problems = optionProblems(common);
  if (common.access.case === "anonymous")
    problems.push("anonymous: would open every new rpc by accident: write it into the rpcs that are meant");
  if (common.readMaskField !== "")
    problems.push("read_mask_field: names a field of one method's answer: write it into the rpc");
  return problems.map((problem) => `${service.typeName}: (portico.v1.service).${problem}`);
}

function merge(
  method: DescMethod,
  own: MethodOptions | undefined,
  common: MethodOptions | undefined,
): MethodPolicy {
  const timeout = own?.timeout ?? common?.timeout;
  const cacheable = method.methodKind === "unary" && isReadOnly(method);
  return {
    access: mergeAccess(own?.access, common?.access),
    audience: audienceOf(own?.audience || common?.audience),
    conditions: [common?.condition, own?.condition].filter((it) => it !== undefined && it !== "") as string[],
    cost: Math.max(costOf(own?.rateLimit), costOf(common?.rateLimit)),
    bucket: bucketOf(own?.rateLimit) ?? bucketOf(common?.rateLimit),
    // A default is for the methods that it can be for; a method that asks for a cache it cannot have is told so.
    cache: cacheOf(own) ?? (cacheable ? cacheOf(common) : undefined),
    timeoutMs: timeout === undefined ? undefined : durationMs(timeout),
    maxRequestBytes: own?.maxRequestBytes || common?.maxRequestBytes || undefined,
    readMaskField: own?.readMaskField || undefined,
  };
}

function mergeAccess(
  own: MethodOptions["access"] | undefined,
  common: MethodOptions["access"] | undefined,
): MethodAccess {
  const permissions = [common, own].flatMap((access) =>
    access?.case === "permission" ? [access.value] : [],
  );
  if (permissions.length > 0) return { kind: "permission", permissions: [...new Set(permissions)] };
  return { kind: (own?.case ?? common?.case) === "anonymous" ? "anonymous" : "authenticated" };
}

/** The fields in which a method is more generous than its service. */
function looser(own: MethodOptions | undefined, common: MethodOptions | undefined): string[] {
  if (own === undefined || common === undefined) return [];
  const [ownBucket, commonBucket] = [bucketOf(own.rateLimit), bucketOf(common.rateLimit)];
  const [ownCache, commonCache] = [cacheOf(own), cacheOf(common)];
  const rules: readonly [field: string, isLooser: boolean][] = [
    [own.access.case ?? "", own.access.case !== undefined && rank(own.access) < rank(common.access)],
    ["audience", own.audience !== 0 && own.audience < common.audience],
    [
      "rate_limit.cost",
      own.rateLimit?.kind.case === "cost" && costOf(own.rateLimit) < costOf(common.rateLimit),
    ],
    [
      "rate_limit.bucket",
      ownBucket !== undefined && commonBucket !== undefined && !isTighter(ownBucket, commonBucket),
    ],
    [
      "timeout",
      own.timeout !== undefined &&
        common.timeout !== undefined &&
        durationMs(own.timeout) > durationMs(common.timeout),
    ],
    ["max_request_bytes", common.maxRequestBytes > 0 && own.maxRequestBytes > common.maxRequestBytes],
    ["cache", ownCache !== undefined && commonCache !== undefined && isLooserCache(ownCache, commonCache)],
  ];
  return rules.filter(([, isLooser]) => isLooser).map(([field]) => field);
}

function rank({ case: kind }: MethodOptions["access"]): number {
  return kind === undefined ? 0 : ["anonymous", "authenticated", "permission"].indexOf(kind);
}

/** No more calls, in no less time: a longer window alone would let all of its calls come at once. */
function isTighter(own: Limit, common: Limit): boolean {
  return own.calls <= common.calls && own.windowSeconds >= common.windowSeconds;
}

const scopes = ["principal", "tenant", "public"] as const;

function isLooserCache(own: CacheRule, common: CacheRule): boolean {
  return (
    own.ttlMs > common.ttlMs ||
    own.staleMs > common.staleMs ||
    scopes.indexOf(own.scope) > scopes.indexOf(common.scope)
  );
}

function costOf(rateLimit: RateLimit | undefined): number {
  return rateLimit?.kind.case === "cost" ? rateLimit.kind.value : 1;
}

function bucketOf(rateLimit: RateLimit | undefined): Limit | undefined {
  if (rateLimit?.kind.case !== "bucket") return undefined;
  const { limit, window } = rateLimit.kind.value;
  return { calls: limit, windowSeconds: Math.ceil(msOf(window) / 1_000) };
}

function cacheOf(options: MethodOptions | undefined): CacheRule | undefined {
  const cache = options?.cache;
  if (cache === undefined) return undefined;
  return {
    ttlMs: msOf(cache.ttl),
    staleMs: msOf(cache.staleWhileRevalidate),
    scope: scopeNames[cache.scope] ?? "principal",
  };
}

const scopeNames: Readonly<Record<number, CacheRule["scope"]>> = {
  [Cache_Scope.PUBLIC]: "public",
  [Cache_Scope.TENANT]: "tenant",
};

function audienceOf(audience: number | undefined): Audience {
  return audiences[Math.max(0, (audience ?? 0) - AudienceNumber.PUBLIC)] ?? "internal";
}

function msOf(duration: Duration | undefined): number {
  return duration === undefined ? 0 : durationMs(duration);
}

function describe(method: DescMethod, problem: string): string {
  const noun = method.parent.name.replace(/Service$/, "").toLowerCase();
  return [
    `${method.parent.typeName}.${method.name} ${problem}. Write into the rpc, in ${method.parent.file.name}.proto:`,
    `  option (portico.v1.method) = {permission: "${noun}.read"};`,
    "or {authenticated: true} for every caller with credentials, or {anonymous: true} for everyone;",
    "then run: npx -y pnpm@12 generate",
  ].join("\n");
}
