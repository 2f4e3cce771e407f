import { hash } from "node:crypto";
import type { DescField, DescMethod } from "@bufbuild/protobuf";
import { type SharingScope, sharersOf } from "../sharing.ts";
import { isReadOnly } from "./method-policy.ts";
import type { Principal } from "./principal.ts";
import type { Rights } from "./rights.ts";

/** How long the answers of a method are kept, and who shares them: the compiled form of `portico.v1.Cache`. */
export interface CacheRule {
  /** How long an answer is given again as it is, in milliseconds. */
  readonly ttlMs: number;
  /** How long after that it may still be given while a new one is fetched, in milliseconds. */
  readonly staleMs: number;
  /** Who shares an answer. */
  readonly scope: SharingScope;
}

/** A method that is to be cached, with what in its policy depends on the caller. */
export interface CachedMethod {
  readonly method: DescMethod;
  readonly rule: CacheRule;
  /** The conditions of the method and of its service. */
  readonly conditions: readonly { readonly source: string; readonly readsPrincipal: boolean }[];
  /** The fields of the answer, at any depth, that not everyone may read. */
  readonly guardedFields: readonly DescField[];
}

/**
 * What keeps the answers of a method from being kept, or from being shared as its rule says: each with what to write
 * instead. For the start.
 */
export function cacheProblems({ method, rule, conditions, guardedFields }: CachedMethod): string[] {
  const problems = [...methodProblems(method), ...sharingProblems(rule, conditions, guardedFields)];
  return problems.map((problem) => `${method.parent.typeName}.${method.name} has a cache, but ${problem}`);
}

/**
 * Names the answer to a request, for all callers who may share it: those of the scope who have the same rights.
 *
 * @param name of the method
 * @param request from {@link canonicalBytes}
 * @returns 43 characters of SHA-256; `undefined` if the caller shares with nobody, so that nothing is to be kept
 */
export function cacheKey(
  { scope }: Pick<CacheRule, "scope">,
  name: string,
  request: Uint8Array,
  principal: Principal,
  rights: Pick<Rights, "key">,
): string | undefined {
  const sharers = sharersOf(scope, principal);
  if (sharers === undefined) return undefined;
  // JSON keeps apart what UTF-8 does not: a claim can hold half a surrogate pair, and all of those look alike in UTF-8.
  const head = Buffer.from(JSON.stringify([name, scope, rights.key, sharers]));
  const headLength = Buffer.alloc(4);
  headLength.writeUInt32BE(head.length);
  return hash("sha256", Buffer.concat([headLength, head, request]), "base64url");
}

function methodProblems(method: DescMethod): string[] {
  if (method.methodKind !== "unary") return ["is a stream, of which nothing is kept: leave out cache"];
  if (isReadOnly(method)) return [];
  return [
    [
      `does not say that a call changes nothing. If so, write into the rpc, in ${method.parent.file.name}.proto:`,
      "  option idempotency_level = NO_SIDE_EFFECTS;",
      "If not, leave out cache",
    ].join("\n"),
  ];
}

/** What makes the answer depend on who calls, where a scope does not tell that. */
function sharingProblems(
  { scope }: CacheRule,
  conditions: CachedMethod["conditions"],
  guardedFields: CachedMethod["guardedFields"],
): string[] {
  if (scope === "principal") return [];
  const guarded = guardedFields.map(({ parent, name }) => `${parent.typeName}.${name}`);
  const traits = [
    ...conditions
      .filter(({ readsPrincipal }) => readsPrincipal)
      .map(({ source }) => `its condition depends on the caller: ${source}`),
    ...(guarded.length === 0 ? [] : [`some may not read fields of its answer: ${guarded.join(", ")}`]),
  ];
  return traits.map(
    (trait) =>
      `SCOPE_${scope.toUpperCase()} does not fit: ${trait}\nWrite scope: SCOPE_PRINCIPAL, or nothing`,
  );
}
