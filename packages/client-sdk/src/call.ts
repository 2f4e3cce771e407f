import {
  create,
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import { PorticoError, toPorticoError, ValidationError } from "./errors.ts";
import { type HeaderValues, isTimeout, type Settings, timeoutWords } from "./options.ts";
import { notePartial } from "./partial.ts";
import { stoppable } from "./stream.ts";
import { createTokenSource } from "./token.ts";

/** Options of one call. */
export interface CallOptions {
  /** Cancels the call, which then fails with code `canceled`. */
  signal?: AbortSignal | undefined;
  /**
   * How many milliseconds the call may take. A unary call takes the client's `timeoutMs` if there is none; a stream
   * has no limit then. Of a paged call, each page may take that long.
   */
  timeoutMs?: number | undefined;
  /** Sent with this call, over those of the client. */
  headers?: HeaderValues | undefined;
}

/** Makes calls. Every error is a `PorticoError`. */
export interface Caller {
  unary<I extends DescMessage, O extends DescMessage>(
    method: DescMethodUnary<I, O>,
    request: MessageInitShape<I>,
    options?: CallOptions,
  ): Promise<MessageShape<O>>;
  stream<I extends DescMessage, O extends DescMessage>(
    method: DescMethodServerStreaming<I, O>,
    request: MessageInitShape<I>,
    options?: CallOptions,
  ): AsyncIterable<MessageShape<O>>;
}

/** Makes the one way that all calls of a client take, whichever their service. */
export function createCaller(settings: Settings): Caller {
  const { transport } = settings;
  const prepare = createPrepare(settings);
  return {
    async unary(method, request, options) {
      try {
        const { headers, timeoutMs } = await prepare(options, settings.timeoutMs);
        const response = await transport.unary(method, options?.signal, timeoutMs, headers, request);
        notePartial(response.message, response.header);
        return response.message;
      } catch (error) {
        throw failure(error, { input: method.input, request, signal: options?.signal });
      }
    },
    stream(method, request, options) {
      const messages = stoppable<MessageShape<typeof method.output>>(
        options?.signal,
        async function* (signal) {
          let requestId: string | undefined;
          // Forgets the iteration before.
          notePartial(messages, new Headers());
          try {
            const { headers, timeoutMs } = await prepare({ ...options, signal }, undefined);
            // Connect takes 0 for "no limit"; without a number its transport would set its own.
            const response = await transport.stream(method, signal, timeoutMs ?? 0, headers, once(request));
            requestId = response.header.get("x-request-id") ?? undefined;
            yield* response.message;
            notePartial(messages, response.trailer);
          } catch (error) {
            if (error instanceof ConnectError) notePartial(messages, error.metadata);
            throw failure(error, { input: method.input, request, signal, requestId });
          }
        },
      );
      return messages;
    },
  };
}

interface Prepared {
  readonly headers: Headers;
  readonly timeoutMs: number | undefined;
}

function createPrepare(settings: Settings) {
  const getToken = settings.token === undefined ? undefined : createTokenSource(settings.token);
  return async (options: CallOptions = {}, defaultMs: number | undefined): Promise<Prepared> => {
    const { signal, timeoutMs = defaultMs } = options;
    signal?.throwIfAborted();
    if (timeoutMs !== undefined && !isTimeout(timeoutMs)) {
      throw new ValidationError(`timeoutMs must be ${timeoutWords}; got ${timeoutMs}`);
    }
    const headers = merge(settings.headers, options.headers);
    if (getToken === undefined || headers.has("authorization"))
      return { headers, timeoutMs: whole(timeoutMs) };
    const started = performance.now();
    headers.set("authorization", `Bearer ${await getToken({ signal, timeoutMs })}`);
    return { headers, timeoutMs: whole(timeoutMs, performance.now() - started) };
  };
}

function merge(defaults: Headers, given: HeaderValues | undefined): Headers {
  const headers = new Headers(defaults);
  try {
    new Headers(given).forEach((value, name) => {
      headers.set(name, value);
    });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ValidationError(`headers must hold valid names and values: ${why}`, { cause });
  }
  return headers;
}

/** What is left of a time limit, in whole milliseconds; never 0, which would mean no limit at all. */
function whole(timeoutMs: number | undefined, spentMs = 0): number | undefined {
  return timeoutMs === undefined ? undefined : Math.max(1, Math.ceil(timeoutMs - spentMs));
}

async function* once<T>(value: T) {
  yield value;
}

interface FailedCall<I extends DescMessage> {
  readonly input: I;
  readonly request: MessageInitShape<I>;
  readonly signal: AbortSignal | undefined;
  readonly requestId?: string | undefined;
}

function failure<I extends DescMessage>(thrown: unknown, call: FailedCall<I>): PorticoError {
  if (call.signal?.aborted) {
    // Whatever the abort made of the call, and whatever its reason is, the caller wants one thing to look for.
    return new PorticoError("The call was canceled by its signal", "canceled", { cause: call.signal.reason });
  }
  if (thrown instanceof PorticoError) return thrown;
  return problemOf(call) ?? toPorticoError(thrown, call.requestId);
}

/**
 * A request that cannot be encoded is the caller's mistake, but a transport reports it in its own way. It never
 * left, so no other error is nearer the truth. Looking costs nothing while calls succeed.
 */
function problemOf<I extends DescMessage>({ input, request }: FailedCall<I>): ValidationError | undefined {
  try {
    toBinary(input, create(input, request));
    return undefined;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    return new ValidationError(`The request is not a valid ${input.name}: ${why}`, { cause });
  }
}
