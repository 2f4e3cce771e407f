import {
  create,
  type DescMessage,
  type DescMethod,
  type Message,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Answered } from "./answers/answer-cache.ts";
import type { CachedAnswers } from "./answers/cached-answers.ts";
import type { Call } from "./call.ts";
import { countMissing } from "./consolidation/partial/groups.ts";
import { createSelections, type Selection } from "./consolidation/selection/selection.ts";
import { beforeAbort } from "./deadline.ts";
import { internalError, PublicError } from "./errors.ts";
import type { Audit } from "./observe/audit.ts";
import { entryOf, type MethodEntry, type MethodTable } from "./policy/method-table.ts";
import type { Permit } from "./policy/permit.ts";

/**
 * Everything that happens to a call once its request is decoded: it is validated and permitted, its answer comes from
 * the cache or from its handler, without what the caller may not read or did not select, and whatever goes wrong becomes
 * an error that the caller may see. Ends at the call's deadline, even if the handler does not.
 */
export interface Invoke {
  /** Runs a unary method. */
  readonly unary: (method: DescMethod, request: Message, call: Call) => Promise<Message>;
  /**
   * Runs a method with a stream in its answer or its request. One whose requests are a stream is permitted anew for each
   * of them; of one that is answered once, the stream has one message.
   */
  readonly stream: (
    method: DescMethod,
    request: Message | AsyncIterable<Message>,
    call: Call,
  ) => AsyncIterable<Message>;
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
  /** How long a stream may go without a message, in milliseconds. */
  readonly streamIdleMs: number;
}

/** A call that may run. */
interface Begun {
  readonly entry: MethodEntry;
  /** What the caller wants of the answer; `undefined` if everything. */
  readonly selection: Selection | undefined;
  readonly call: Call;
}

/** Creates the one way through the gateway. */
export function createInvoke({ methods, permit, cached, audit, streamIdleMs }: InvokeParts): Invoke {
  const selections = createSelections(methods.values());
  /** What comes before the handler. */
  const begin = (method: DescMethod, request: Message | AsyncIterable<Message>, call: Call): Begun => {
    const entry = entryOf(methods, method);
    call.signal.throwIfAborted();
    if (!isStream(request)) permit(entry, request, call);
    const selection = isStream(request) ? undefined : selections.get(entry.method)?.(request);
    if (entry.mutates) audit.allowed(call.record, call.principal);
    if (selection === undefined) return { entry, selection, call };
    return { entry, selection, call: { ...call, omitted: selection.omitted(call.hidden) } };
  };
  /** Each request of a stream is permitted when it comes. */
  const permitted = (
    { entry, call }: Begun,
    request: Message | AsyncIterable<Message>,
  ): Message | AsyncIterable<Message> => {
    if (!isStream(request)) return request;
    return (async function* () {
      for await (const each of readingOf(request)) {
        permit(entry, each, call);
        yield each;
      }
    })();
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
        const begun = begin(method, request, call);
        const { entry } = begun;
        let cause: unknown;
        const run = async (call: Call): Promise<Answered> => {
          const answer = await handle<Answer | Promise<Answer>>(entry, request, call);
          const message = readable({ ...begun, call }, answer);
          cause = call.missing.cause();
          return { message, partial: call.missing.result() };
        };
        const { message, partial } = await beforeAbort(call.signal, cached(entry, request, begun.call, run));
        call.missing.adopt(partial);
        noteMissing(call, cause);
        call.record.outcome = "ok";
        return message;
      } catch (error) {
        throw fail(call, error);
      }
    },
    stream: async function* (method, request, call) {
      let answers: AsyncIterator<Answer> | undefined;
      let isUnread = false;
      try {
        const begun = begin(method, request, call);
        answers = answersOf(begun, permitted(begun, request))[Symbol.asyncIterator]();
        for (let index = 0; ; index++) {
          const next = await beforeAbort(call.signal, notSilent(answers.next(), streamIdleMs));
          if (next.done === true) break;
          // A stream can outlive the rights that it began with.
          await call.recheck();
          yield readable(begun, next.value, index);
        }
        call.record.outcome = "ok";
      } catch (error) {
        isUnread = unread.has(Object(error));
        throw isUnread ? error : fail(call, error);
      } finally {
        // Not awaited: a handler that waits for something else would keep the answer from ending.
        leave(answers).catch(() => {});
        noteMissing(call, call.missing.cause());
        if (!isUnread) call.record.outcome ??= Code.Canceled;
      }
    },
  };
}

/**
 * The answer without what the caller did not select or may not read, whatever the handler put into it. What of the rest
 * is missing is noted before, since a copy is not known by those who made the original.
 *
 * @param index which message of a stream it is
 */
function readable(
  { entry: { method, guards }, selection, call }: Begun,
  answer: Answer,
  index?: number,
): Message {
  const whole = create(method.output, answer);
  call.missing.locate(whole, { hidden: call.hidden, wanted: selection?.wanted, index });
  return guards.clear(selection?.keep(whole) ?? whole, call.hidden);
}

/** A stream that nobody writes to costs a place, and may well be dead: who reads it is told to begin again. */
async function notSilent<T>(next: Promise<T>, idleMs: number): Promise<T> {
  const silence = Promise.withResolvers<never>();
  const timer = setTimeout(
    () =>
      silence.reject(
        new PublicError("DEADLINE_EXCEEDED", "There was no message for too long. Connect again."),
      ),
    idleMs,
  );
  return Promise.race([next, silence.promise]).finally(() => clearTimeout(timer));
}

/**
 * What cannot be read of a stream of requests. Like that of a single request, it is the router's own error, which is put
 * into words where it leaves the gateway.
 */
const unread = new WeakSet<object>();

async function* readingOf(requests: AsyncIterable<Message>): AsyncIterable<Message> {
  try {
    yield* requests;
  } catch (error) {
    if (error instanceof ConnectError) unread.add(error);
    throw error;
  }
}

function isStream(request: Message | AsyncIterable<Message>): request is AsyncIterable<Message> {
  return Symbol.asyncIterator in request;
}

/** What the handler gives, as a stream even if it is a single message. */
function answersOf({ entry, call }: Begun, request: Message | AsyncIterable<Message>): AsyncIterable<Answer> {
  if (entry.method.methodKind !== "client_streaming") return handle(entry, request, call);
  return (async function* () {
    yield await handle<Answer | Promise<Answer>>(entry, request, call);
  })();
}

/** Async, since a handler that was written by hand may throw where others reject. */
async function leave(answers: AsyncIterator<Answer> | undefined): Promise<void> {
  await answers?.return?.();
}

/** Notes for the log what the answer lacks. The cause is known to the call alone that ran for the answer. */
function noteMissing({ missing, record }: Call, cause: unknown): void {
  const partial = missing.result();
  if (partial !== undefined) record.partial = { count: countMissing(partial), cause };
}

/** `service()` checked that each handler fits its method; the table has lost that type. */
function handle<R>({ handler }: MethodEntry, request: Message | AsyncIterable<Message>, call: Call): R {
  return (handler as unknown as (request: Message | AsyncIterable<Message>, call: Call) => R)(request, call);
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
