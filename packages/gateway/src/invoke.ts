import type { DescMessage, DescMethod, Message, MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Call } from "./call.ts";
import { PublicError } from "./errors.ts";
import type { MethodEntry, MethodTable } from "./policy/method-table.ts";

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
        const answer = await beforeDeadline(call, run<Answer | Promise<Answer>>(entry, request, call));
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
          const next = await beforeDeadline(call, answers.next());
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

function entryOf(methods: MethodTable, method: DescMethod): MethodEntry {
  const entry = methods.get(method);
  if (entry === undefined) throw new Error(`${method.toString()} is not in the method table`);
  return entry;
}

function validate(entry: MethodEntry, request: Message): void {
  const missing = entry.required(request);
  if (missing !== undefined) throw new PublicError(Code.InvalidArgument, `${missing}: is required`);
}

/** `service()` checked that each handler fits its method; the table has lost that type. */
function run<R>({ handler }: MethodEntry, request: Message, call: Call): R {
  return (handler as unknown as (request: Message, call: Call) => R)(request, call);
}

/** Settles with the value, or rejects as soon as the call's signal aborts. */
function beforeDeadline<T>({ signal }: Call, value: T | Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    if (signal.aborted) abort();
    else signal.addEventListener("abort", abort, { once: true });
    Promise.resolve(value)
      .then(resolve, reject)
      .finally(() => signal.removeEventListener("abort", abort));
  });
}

/** Notes how the call failed, and makes the error that the caller gets. */
function fail(call: Call, error: unknown): PublicError {
  const shown = toPublic(call, error);
  call.record.outcome = shown.code;
  call.record.error = shown.cause ?? shown;
  return shown;
}

function toPublic({ signal }: Call, error: unknown): PublicError {
  if (error instanceof PublicError) return error;
  if (signal.aborted && signal.reason instanceof PublicError) return signal.reason;
  if (signal.aborted && isClientGone(signal.reason))
    return new PublicError(Code.Canceled, "The caller ended the call.");
  return new PublicError(Code.Internal, "The request failed inside the API.", { cause: error });
}

/** The transport aborts with one of these, or with a plain AbortError, when the caller goes away. */
function isClientGone(reason: unknown): boolean {
  if (reason instanceof ConnectError) return reason.code === Code.Canceled || reason.code === Code.Aborted;
  return reason instanceof Error && reason.name === "AbortError";
}
