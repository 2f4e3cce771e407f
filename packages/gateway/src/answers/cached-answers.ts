import type { Message } from "@bufbuild/protobuf";
import type { Call } from "../call.ts";
import { canonicalBytes } from "../canonical-bytes.ts";
import { createLoaderScope } from "../consolidation/loaders/scope.ts";
import { createMissingParts } from "../consolidation/partial/partial.ts";
import { type CacheRule, cacheKey } from "../policy/cache-rule.ts";
import type { MethodEntry } from "../policy/method-table.ts";
import { asSharers } from "../sharing.ts";
import type { AnswerCache, Answered, GivenAnswer } from "./answer-cache.ts";

/** Gives the answer of a call: from the cache where the method's policy allows it, else from its handler. */
export type CachedAnswers = (entry: MethodEntry, request: Message, call: Call, run: Run) => Promise<Answered>;

/** Makes the answer of a call. */
type Run = (call: Call) => Promise<Answered>;

/**
 * Creates the way past the cache. A run that several callers may share belongs to none of them: it has a deadline of its
 * own, and where callers of different identities share it, the handler and the upstreams are not told who calls.
 *
 * Notes in the call's record where the answer of a cached method came from, and for how long it may be kept elsewhere.
 *
 * @param maxMs the longest time that a caller can have, in milliseconds
 */
export function createCachedAnswers(cache: AnswerCache | undefined, maxMs: number): CachedAnswers {
  return async (entry, request, call, run) => {
    const { cache: rule, method } = entry;
    if (rule === undefined) return run(call);
    const bytes = canonicalBytes(method.input, request);
    const key = cacheKey(rule, entry.name, bytes, call.principal, call.rights);
    if (cache === undefined || key === undefined) return note(call, await runAlone(rule, call, run));
    const given = await cache.answer({
      key,
      rule,
      output: method.output,
      signal: call.signal,
      timeoutMs: Math.min(entry.timeoutMs ?? maxMs, maxMs),
      run: (signal, remainingMs) =>
        run({
          ...asSharers(rule.scope, call),
          signal,
          remainingMs,
          loaders: createLoaderScope("call", call.loaders.entities),
          missing: createMissingParts(method.output),
        }),
    });
    call.record.answer = given.from;
    return note(call, given);
  };
}

type Dated = Answered & Pick<GivenAnswer, "freshMs" | "staleMs">;

/** An answer that the gateway does not keep may be kept elsewhere, by the same rule. */
async function runAlone({ ttlMs, staleMs }: CacheRule, call: Call, run: Run): Promise<Dated> {
  const bornAt = performance.now();
  const answered = await run(call);
  return { ...answered, freshMs: Math.max(0, bornAt + ttlMs - performance.now()), staleMs };
}

function note({ record }: Call, { message, partial, freshMs, staleMs }: Dated): Answered {
  if (partial === undefined) record.lifetime = { freshMs, staleMs };
  return { message, partial };
}
