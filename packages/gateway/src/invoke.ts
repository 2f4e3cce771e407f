import type { DescMessage, DescMethod, Message, MessageInitShape } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { Call } from "./call.ts";
import { beforeAbort } from "./deadline.ts";
import { internalError, PublicError } from "./errors.ts";
import { entryOf, type MethodEntry, type MethodTable } from "./policy/method-table.ts";

/**
 * Everything that happens to a call once its request is decoded: it is validated, its handler runs, and whatever goes
 * wrong becomes an error that the caller may see. Ends at the call's deadline, even if the handler does not.
 */
export interface Invoke {
  /** Runs a unary method. */
  readonly unary: (method: DescMethod, request: Message, call: Call) => Promise<Answer>;
  /** Runs a server-streaming method. */
  readonly stream: (method: DescMethod, request: Message, call: Call) => AsyncIterable<Answer>;
}

/** A response, as a handler may write it. */
type Answer = MessageInitShape<DescMessage>;

/** Creates the one way through the gateway. */
export function createInvoke(methods: MethodTable): Invoke {
  return {
    unary: async (method, request, call) => {
      try {
        const entry = entryOf(methods, method);
        call.signal.throwIfAborted();
        validate(entry, request);
        const answer = await beforeAbort(call.signal, run<Answer | Promise<Answer>>(entry, request, call));
        call.record.outcome = "ok";
        return answer;
      } catch (error) {
        throw fail(call, error);
      }
    },
    stream: async function* (method, request, call) {
      let answers: AsyncIterator<Answer> | undefined;
      try {
        const entry = entryOf(methods, method);
        call.signal.throwIfAborted();
        validate(entry, request);
        answers = run<AsyncIterable<Answer>>(entry, request, call)[Symbol.asyncIterator]();
        for (;;) {
          const next = await beforeAbort(call.signal, answers.next());
          if (next.done === true) break;
          yield next.value;
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

function validate(entry: MethodEntry, request: Message): void {
  const missing = entry.required(request);
  if (missing !== undefined) throw new PublicError(Code.InvalidArgument, `${missing}: is required`);
}

/** `service()` checked that each handler fits its method; the table has lost that type. */
function run<R>({ handler }: MethodEntry, request: Message, call: Call): R {
  return (handler as unknown as (request: Message, call: Call) => R)(request, call);
}

/** Notes how the call failed, and makes the error that the caller gets. */
function fail(call: Call, error: unknown): PublicError {
  const shown = toPublic(call, error);
  call.record.outcome = shown.code;
  call.record.error = shown.cause ?? shown;
  return shown;
}

/** Whatever ends a call that the gateway did not end itself is the caller, who left. */
function toPublic({ signal }: Call, error: unknown): PublicError {
  if (error instanceof PublicError) return error;
  if (signal.aborted && signal.reason instanceof PublicError) return signal.reason;
  if (signal.aborted) return new PublicError(Code.Canceled, "The caller ended the call.", { cause: error });
  return internalError(error);
}
