import { PublicError } from "../errors.ts";
import type { CallRecord } from "../observe/call-record.ts";
import { addressKey } from "../policy/limits/address-key.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { assembleEnvelopes } from "./envelopes.ts";

/** What the body of a request may be. */
export interface BodyRules {
  /** The content type decides whether the body is one message, or messages in envelopes. */
  readonly contentType: string;
  /** What its header says that the body has, in bytes. */
  readonly contentLength: number | undefined;
  /** The most bytes of one message. */
  readonly maxMessageBytes: number;
  /** What all bodies have to share. */
  readonly budget: ByteBudget;
  /** Where the bytes that came are counted. Who calls is known when the body is read. */
  readonly record: Pick<CallRecord, "requestBytes" | "caller" | "address">;
}

/** The body of a request, on its way to the decoder. */
export interface RequestBody {
  /**
   * The body, cut where messages end. Fails with `REQUEST_TOO_LARGE` before anything is kept of a body that is or says
   * that it is too large, and with `OVERLOADED` if all bodies together take too much, or those of one caller.
   */
  readonly messages: AsyncIterable<Uint8Array>;
  /** Whoever waits for the rest of the body gets this error. */
  readonly interrupt: (reason: unknown) => void;
  /** The call is over: what the body took of the budget is given back. */
  readonly release: () => void;
}

/** Takes a body in, at the pace of who reads it. */
export function createRequestBody(chunks: AsyncIterable<Uint8Array>, rules: BodyRules): RequestBody {
  const { body, interrupt } = interruptible(chunks);
  const holding = createHolding(rules);
  const isWhole = /^application\/(json|proto)\b/.test(rules.contentType);
  return {
    messages: isWhole ? whole(body, holding, rules) : enveloped(body, holding, rules),
    interrupt,
    release: holding.release,
  };
}

/** A body that is one message, in one piece. */
async function* whole(
  body: AsyncIterable<Uint8Array>,
  holding: Holding,
  { contentLength = 0, maxMessageBytes }: BodyRules,
): AsyncGenerator<Uint8Array> {
  if (contentLength > maxMessageBytes) throw tooLarge(maxMessageBytes);
  let kept: Uint8Array = new Uint8Array(0);
  let length = 0;
  for await (const chunk of body) {
    holding.take(chunk.length);
    const end = length + chunk.length;
    if (end > maxMessageBytes) throw tooLarge(maxMessageBytes);
    if (length === 0) kept = chunk;
    else {
      if (end > kept.length) kept = grown(kept.subarray(0, length), 2 * end);
      kept.set(chunk, length);
    }
    length = end;
  }
  if (length > 0) yield kept.subarray(0, length);
}

/** Messages in envelopes, as soon as they are whole. One is held until the next is asked for and there. */
async function* enveloped(
  body: AsyncIterable<Uint8Array>,
  holding: Holding,
  { maxMessageBytes }: BodyRules,
): AsyncGenerator<Uint8Array> {
  const assembly = assembleEnvelopes(maxMessageBytes);
  let handedOut = 0;
  for await (const chunk of body) {
    holding.take(chunk.length);
    const messages = assembly.add(chunk);
    if (messages === undefined) continue;
    holding.give(handedOut);
    handedOut = messages.length;
    yield messages;
  }
  // The decoder knows what to say about half a message.
  const rest = assembly.rest();
  if (rest.length > 0) yield rest;
}

/** What one body has of the budget. */
interface Holding {
  /** Throws if there is not as much. */
  readonly take: (bytes: number) => void;
  readonly give: (bytes: number) => void;
  readonly release: () => void;
}

function createHolding({ budget, record }: Pick<BodyRules, "budget" | "record">): Holding {
  let held = 0;
  let released = false;
  let caller: string | undefined;
  const give = (bytes: number) => {
    if (released || caller === undefined) return;
    budget.give(caller, bytes);
    held -= bytes;
  };
  return {
    take: (bytes) => {
      record.requestBytes += bytes;
      if (released) return;
      caller ??= callerOf(record);
      if (!budget.take(caller, bytes, held > 0))
        throw new PublicError("OVERLOADED", undefined, { retryAfterMs: 1_000 });
      held += bytes;
    },
    give,
    release: () => {
      give(held);
      released = true;
    },
  };
}

/** Whose bodies share a half of the budget: those of a subject, or else of an address. */
function callerOf({ caller = "anonymous", address }: BodyRules["record"]): string {
  return caller === "anonymous" ? addressKey(address) : `caller:${caller}`;
}

function tooLarge(maxBytes: number): PublicError {
  return new PublicError("REQUEST_TOO_LARGE", `The request is larger than ${maxBytes} bytes.`);
}

function grown(bytes: Uint8Array, capacity: number): Uint8Array {
  const larger = Buffer.allocUnsafe(capacity);
  larger.set(bytes);
  return larger;
}

/** By hand: to race each chunk against one promise would keep something for each until the end. */
function interruptible(chunks: AsyncIterable<Uint8Array>): {
  readonly body: AsyncIterable<Uint8Array>;
  readonly interrupt: (reason: unknown) => void;
} {
  let interruption: { readonly reason: unknown } | undefined;
  let fail: (reason: unknown) => void = () => {};
  const body = {
    [Symbol.asyncIterator]: () => {
      const iterator = chunks[Symbol.asyncIterator]();
      const next = (): Promise<IteratorResult<Uint8Array>> =>
        new Promise((resolve, reject) => {
          if (interruption !== undefined) return reject(interruption.reason);
          fail = reject;
          iterator.next().then(resolve, reject);
        });
      const leave = async (): Promise<IteratorResult<Uint8Array>> => {
        await iterator.return?.();
        return { done: true, value: undefined };
      };
      return { next, return: leave };
    },
  };
  const interrupt = (reason: unknown) => {
    interruption ??= { reason };
    fail(reason);
  };
  return { body, interrupt };
}
