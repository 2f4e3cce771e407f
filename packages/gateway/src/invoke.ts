import {
  create,
  type DescMessage,
  type DescMethod,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { CachedAnswers } from "./answers/cached-answers.ts";
import type { Call } from "./call.ts";
import { beforeAbort } from "./deadline.ts";
import { internalError, PublicError } from "./errors.ts";
import type { Audit } from "./observe/audit.ts";
import { entryOf, type MethodEntry, type MethodTable } from "./policy/method-table.ts";
import type { Permit } from "./policy/permit.ts";

/**
 * Everything that happens to a call once its request is decoded: it is validated and permitted, its answer comes from
 * the cache or from its handler, without what the caller may not read, and whatever goes wrong becomes an error that the
 * caller may see. Ends at the call's deadline, even if the handler does not.
 */
export interface Invoke {
  /** Runs a unary method. */
  readonly unary: (method: DescMethod, request: Message, call: Call) => Promise<Message>;
  /** Runs a server-streaming method. */
  readonly stream: (method: DescMethod, request: Message, call: Call) => AsyncIterable<Message>;
}

/** A response, as a handler may write it. */
type Answer = MessageInitShape<DescMessage>;

/** What `invoke` works with. */
export interface InvokeParts {
  readonly methods: MethodTable;
  /** Throws unless the request is valid, and one that this caller may make. */
  readonly permit: Permit;
  readonly cached: CachedAnswers;
  readonly audit: Audit;
}

/** Creates the one way through the gateway. */
export function createInvoke({ methods, permit, cached, audit }: InvokeParts): Invoke {
  /** What comes before the handler. */
  const begin = (method: DescMethod, request: Message, call: Call): MethodEntry => {
    const entry = entryOf(methods, method);
    call.signal.throwIfAborted();
    permit(entry, request, call);
    if (entry.mutates) audit.allowed(call.record, call.principal);
    return entry;
  };
  /** Notes how the call failed, and makes the error that the caller gets. */
  const fail = (call: Call, error: unknown): PublicError => {
    const shown = toPublic(call, error);
    call.record.outcome = shown.code;
    call.record.error = shown.cause ?? shown;
    audit.refused(call.record, call.principal, shown);
    return shown;
  };
  return {
    unary: async (method, request, call) => {
      try {
        const entry = begin(method, request, call);
        const run = async (call: Call) =>
          readable(entry, await handle<Answer | Promise<Answer>>(entry, request, call), call);
        const answer = await beforeAbort(call.signal, cached(entry, request, call, run));
        call.record.outcome = "ok";
        return answer;
      } catch (error) {
        throw fail(call, error);
      }
    },
    stream: async function* (method, request, call) {
      let answers: AsyncIterator<Answer> | undefined;
      try {
        const entry = begin(method, request, call);
        answers = handle<AsyncIterable<Answer>>(entry, request, call)[Symbol.asyncIterator]();
        for (;;) {
          const next = await beforeAbort(call.signal, answers.next());
          if (next.done === true) break;
          // A stream can outlive the rights that it began with.
          await call.recheck();
          yield readable(entry, next.value, call);
        }
        call.record.outcome = "ok";
      } catch (error) {
        throw fail(call, error);
      } finally {
        // Not awaited: a handler that waits for something else would keep the answer from ending.
        answers?.return?.().catch(() => {});
        call.record.outcome ??= Code.Canceled;
      }
    },
  };
}

/** The answer without what the caller may not read, whatever the handler put into it. */
function readable({ method, guards }: MethodEntry, answer: Answer, { hidden }: Call): Message {
  return guards.clear(create(method.output, answer), hidden);
}

/** `service()` checked that each handler fits its method; the table has lost that type. */
function handle<R>({ handler }: MethodEntry, request: Message, call: Call): R {
  return (handler as unknown as (request: Message, call: Call) => R)(request, call);
}

/**
 * Whatever ends a call that the gateway did not end itself is the caller, who left. Each call gets an error of its own,
 * since others may end for the same reason, such as a restart: what is sent with an error names its call.
 */
function toPublic({ signal }: Call, error: unknown): PublicError {
  const [chosen] = [error, signal.aborted ? signal.reason : undefined].filter(
    (it) => it instanceof PublicError,
  );
  if (chosen !== undefined) return new PublicError(chosen.reason, chosen.rawMessage, chosen.options);
  if (signal.aborted) return new PublicError("CALLER_LEFT", undefined, { cause: error });
  return internalError(error);
}
