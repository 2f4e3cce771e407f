import { setTimeout as sleep } from "node:timers/promises";
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { type Any, anyUnpack } from "@bufbuild/protobuf/wkt";
import { type CallOptions, type Client, ConnectError } from "@connectrpc/connect";
import type {
  ClientCompatRequest,
  ClientResponseResultSchema,
} from "../gen/connectrpc/conformance/v1/client_compat_pb.ts";
import { StreamType } from "../gen/connectrpc/conformance/v1/config_pb.ts";
import {
  BidiStreamRequestSchema,
  ClientStreamRequestSchema,
  type ConformancePayload,
  type ConformanceService,
  IdempotentUnaryRequestSchema,
  ServerStreamRequestSchema,
  UnaryRequestSchema,
  UnimplementedRequestSchema,
} from "../gen/connectrpc/conformance/v1/service_pb.ts";
import { addHeaders, tellError, tellHeaders } from "./wording.ts";

/** What came of a call, as the runner wants to hear it. */
type Result = MessageInitShape<typeof ClientResponseResultSchema>;
type Caller = Client<typeof ConformanceService>;

/**
 * Makes the call of a test case, and says what came of it.
 *
 * Throws only for a test case that it does not understand.
 */
export async function callAsTold(client: Caller, told: ClientCompatRequest): Promise<Result> {
  const run = runs[told.method ?? ""];
  if (run === undefined) throw new Error(`there is no way to call ${told.method}`);
  const state = startCall(told);
  try {
    for await (const { payload } of run(client, told, state)) state.received(payload);
  } catch (error) {
    state.fail(ConnectError.from(error));
  }
  return state.result();
}

/** One call under way. */
interface CallState {
  readonly options: CallOptions;
  /** Cancels the call when the test case says so: the last request was sent. */
  readonly sent: () => void;
  /** The same just before the side of the requests is closed. */
  readonly closing: () => void;
  readonly received: (payload: ConformancePayload | undefined) => void;
  /** Resolves once so many answers were received, or the call is over. */
  readonly answers: (count: number) => Promise<void>;
  readonly fail: (error: ConnectError) => void;
  readonly result: () => Result;
}

function startCall({ cancel, requestHeaders, timeoutMs }: ClientCompatRequest): CallState {
  const controller = new AbortController();
  const timing = cancel?.cancelTiming;
  const headers = new Headers();
  addHeaders(requestHeaders, headers);
  let responseHeaders = new Headers();
  let responseTrailers = new Headers();
  let error: ConnectError | undefined;
  const payloads: (ConformancePayload | Record<string, never>)[] = [];
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const check of waiting) check();
  };
  return {
    options: {
      headers,
      signal: controller.signal,
      ...(timeoutMs !== undefined && { timeoutMs }),
      onHeader: (came) => {
        responseHeaders = came;
      },
      onTrailer: (came) => {
        responseTrailers = came;
      },
    },
    closing: () => {
      if (timing?.case === "beforeCloseSend") controller.abort();
    },
    sent: () => {
      if (timing?.case === "afterCloseSendMs") setTimeout(() => controller.abort(), timing.value);
    },
    received: (payload) => {
      payloads.push(payload ?? {});
      if (timing?.case === "afterNumResponses" && timing.value === payloads.length) controller.abort();
      wake();
    },
    answers: (count) =>
      new Promise((resolve) => {
        const check = () => {
          if (payloads.length < count && error === undefined && !controller.signal.aborted) return;
          waiting.delete(check);
          resolve();
        };
        waiting.add(check);
        check();
      }),
    fail: (thrown) => {
      error = thrown;
      // What a failed call ended with is in its error, mixed with its headers where these were not shown before.
      responseTrailers = thrown.metadata;
      wake();
    },
    result: () => ({
      responseHeaders: tellHeaders(responseHeaders),
      responseTrailers: tellHeaders(responseTrailers),
      payloads,
      ...(error !== undefined && { error: tellError(error) }),
    }),
  };
}

type Answers = AsyncIterable<{ readonly payload?: ConformancePayload | undefined }>;
type Run = (client: Caller, told: ClientCompatRequest, state: CallState) => Answers;

const runs: Readonly<Record<string, Run>> = {
  Unary: (client, told, state) =>
    one(async () => client.unary(only(UnaryRequestSchema, told, state), state.options)),
  IdempotentUnary: (client, told, state) =>
    one(async () => client.idempotentUnary(only(IdempotentUnaryRequestSchema, told, state), state.options)),
  Unimplemented: (client, told, state) =>
    one(async () => {
      await client.unimplemented(only(UnimplementedRequestSchema, told, state), state.options);
      return {};
    }),
  ServerStream: (client, told, state) =>
    client.serverStream(only(ServerStreamRequestSchema, told, state), state.options),
  ClientStream: (client, told, state) =>
    one(async () => client.clientStream(all(ClientStreamRequestSchema, told, state), state.options)),
  BidiStream: (client, told, state) =>
    client.bidiStream(all(BidiStreamRequestSchema, told, state), state.options),
};

async function* one<T>(call: () => Promise<T>): AsyncGenerator<T> {
  yield await call();
}

/** The one request of a call that takes no more, which counts as sent with the call. */
function only<D extends DescMessage>(desc: D, { requestMessages }: ClientCompatRequest, state: CallState) {
  const [request, ...surplus] = requestMessages;
  if (request === undefined || surplus.length > 0)
    throw new Error(`the call takes one request, not ${requestMessages.length}`);
  const message = unpack(desc, request);
  state.sent();
  return message;
}

/** The requests of a stream; where both sides talk in turn, each but the first behind an answer. */
async function* all<D extends DescMessage>(
  desc: D,
  { requestMessages, requestDelayMs, streamType }: ClientCompatRequest,
  state: CallState,
): AsyncGenerator<MessageShape<D>> {
  const inTurn = streamType === StreamType.FULL_DUPLEX_BIDI_STREAM;
  for (const [index, request] of requestMessages.entries()) {
    await sleep(requestDelayMs);
    yield unpack(desc, request);
    if (inTurn) await state.answers(index + 1);
  }
  state.closing();
  state.sent();
}

function unpack<D extends DescMessage>(desc: D, request: Any): MessageShape<D> {
  const message = anyUnpack(request, desc);
  if (message === undefined) throw new Error(`a request is a ${request.typeUrl}, not a ${desc.typeName}`);
  return message;
}
