import type { Message } from "@bufbuild/protobuf";
import type { Call } from "../call.ts";
import { canonicalBytes } from "../canonical-bytes.ts";
import { createLoaderScope } from "../consolidation/loader.ts";
import { type CacheRule, cacheKey } from "../policy/cache-rule.ts";
import type { MethodEntry } from "../policy/method-table.ts";
import { anonymous, type Principal, tenantOf } from "../policy/principal.ts";
import type { AnswerCache } from "./answer-cache.ts";

/** Gives the answer of a call: from the cache where the method's policy allows it, else from its handler. */
export type CachedAnswers = (
  entry: MethodEntry,
  request: Message,
  call: Call,
  run: (call: Call) => Promise<Message>,
) => Promise<Message>;

/**
 * Creates the way past the cache. A run that several callers may share belongs to none of them: it has a deadline of its
 * own, and where callers of different identities share it, the handler and the upstreams are not told who calls.
 *
 * @param maxMs the longest time that a caller can have, in milliseconds
 */
export function createCachedAnswers(cache: AnswerCache | undefined, maxMs: number): CachedAnswers {
  return async (entry, request, call, run) => {
    const rule = entry.cache;
    if (rule === undefined || cache === undefined) return run(call);
    const bytes = canonicalBytes(entry.method.input, request);
    const key = cacheKey(rule, entry.name, bytes, call.principal, call.rights);
    if (key === undefined) return run(call);
    const { message, from } = await cache.answer({
      key,
      rule,
      output: entry.method.output,
      signal: call.signal,
      timeoutMs: Math.min(entry.timeoutMs ?? maxMs, maxMs),
      run: (signal, remainingMs) =>
        run({
          ...call,
          signal,
          remainingMs,
          principal: sharer(rule, call.principal),
          loaders: createLoaderScope("call"),
        }),
    });
    call.record.answer = from;
    return message;
  };
}

/** Whom an answer is made for, so that it is right for all who share it. */
function sharer({ scope }: CacheRule, principal: Principal): Principal {
  switch (scope) {
    case "public":
      return anonymous;
    case "tenant":
      return tenantOf(principal);
    case "principal":
      return principal;
  }
}
