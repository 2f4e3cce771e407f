import { setTimeout as sleep } from "node:timers/promises";
import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError } from "@connectrpc/connect";
import type { Call } from "../../packages/gateway/src/call.ts";
import type { StandardHandlers } from "../../packages/gateway/src/service.ts";
import {
  BidiStreamRequestSchema,
  ClientStreamRequestSchema,
  ConformancePayload_RequestInfoSchema,
  type ConformancePayloadSchema,
  type ConformanceService,
  type Header,
  IdempotentUnaryRequestSchema,
  ServerStreamRequestSchema,
  type StreamResponseDefinition,
  type Error as ToldError,
  UnaryRequestSchema,
  type UnaryResponseDefinition,
} from "../gen/connectrpc/conformance/v1/service_pb.ts";
import { addHeaders, errorOf, tellHeaders } from "./wording.ts";

/** What a handler of the conformance service has to do with beyond its messages. */
export interface Wire {
  readonly requestHeader: Headers;
  /** Path and query, as they came. */
  readonly url: string;
  readonly timeoutMs: number | undefined;
  readonly responseHeader: Headers;
  readonly responseTrailer: Headers;
}

type RequestInfo = MessageInitShape<typeof ConformancePayload_RequestInfoSchema>;
type Payload = MessageInitShape<typeof ConformancePayloadSchema>;

/**
 * The conformance service: each request says what to answer, and the answer says what was requested.
 *
 * @param wireOf gives what came with a call
 */
export function conformanceHandlers(
  wireOf: (call: Call) => Wire,
): StandardHandlers<typeof ConformanceService> {
  return {
    unary: async (request, call) => {
      const asked = [pack(UnaryRequestSchema, request)];
      return { payload: await answerOnce(request.responseDefinition, wireOf(call), asked) };
    },
    idempotentUnary: async (request, call) => {
      const asked = [pack(IdempotentUnaryRequestSchema, request)];
      return { payload: await answerOnce(request.responseDefinition, wireOf(call), asked) };
    },
    unimplemented: () => {
      throw new ConnectError("ConformanceService.Unimplemented is not implemented", Code.Unimplemented);
    },
    clientStream: async (requests, call) => {
      const asked: Any[] = [];
      let definition: UnaryResponseDefinition | undefined;
      for await (const request of requests) {
        if (asked.length === 0) definition = request.responseDefinition;
        asked.push(pack(ClientStreamRequestSchema, request));
      }
      return { payload: await answerOnce(definition, wireOf(call), asked) };
    },
    serverStream: async function* (request, call) {
      const wire = wireOf(call);
      const asked = [pack(ServerStreamRequestSchema, request)];
      yield* answers(request.responseDefinition, wire, [], () => infoOf(wire, asked));
    },
    bidiStream: async function* (requests, call) {
      const wire = wireOf(call);
      const iterator = requests[Symbol.asyncIterator]();
      const first = await iterator.next();
      if (first.done === true) return;
      const { responseDefinition, fullDuplex } = first.value;
      const rest = { [Symbol.asyncIterator]: () => iterator };
      let asked = [pack(BidiStreamRequestSchema, first.value)];
      if (!fullDuplex) for await (const request of rest) asked.push(pack(BidiStreamRequestSchema, request));
      // What came since the last answer; all about the call only once.
      let said = false;
      const info = () => {
        const all = said ? { requests: asked } : infoOf(wire, asked);
        said = true;
        asked = [];
        return all;
      };
      const turns = fullDuplex ? rest : [];
      yield* answers(responseDefinition, wire, turns, info, (request) =>
        asked.push(pack(BidiStreamRequestSchema, request)),
      );
    },
  };
}

/** The one answer to a call, or the error that it asks for. */
async function answerOnce(
  definition: UnaryResponseDefinition | undefined,
  wire: Wire,
  asked: readonly Any[],
): Promise<Payload> {
  const requestInfo = infoOf(wire, asked);
  if (definition === undefined) return { requestInfo };
  const { response, responseHeaders, responseTrailers, responseDelayMs } = definition;
  setHeaders(wire, responseHeaders, responseTrailers);
  await sleep(responseDelayMs);
  if (response.case === "error") throw withInfo(response.value, requestInfo);
  return { requestInfo, data: response.value ?? new Uint8Array() };
}

/**
 * The answers to a call, and the error that ends them.
 *
 * @param turns the further requests: each answer but the first waits for one, as long as there are any
 * @param info what to say about the call with an answer; with the first alone, where the requests are no stream
 */
async function* answers<T>(
  definition: StreamResponseDefinition | undefined,
  wire: Wire,
  turns: AsyncIterable<T> | Iterable<T>,
  info: () => RequestInfo,
  onRequest: (request: T) => unknown = () => {},
): AsyncGenerator<{ payload: Payload }> {
  if (definition === undefined) return;
  setHeaders(wire, definition.responseHeaders, definition.responseTrailers);
  const further = iterate(turns);
  let more = true;
  for (const [index, data] of definition.responseData.entries()) {
    if (index > 0 && more) {
      const next = await further.next();
      more = next.done !== true;
      if (next.done !== true) onRequest(next.value);
    }
    await sleep(definition.responseDelayMs);
    yield { payload: { data, ...((index === 0 || more) && { requestInfo: info() }) } };
  }
  if (definition.responseData.length > 0 && more) await further.next();
  if (definition.error === undefined) return;
  throw definition.responseData.length === 0 ? withInfo(definition.error, info()) : errorOf(definition.error);
}

async function* iterate<T>(values: AsyncIterable<T> | Iterable<T>): AsyncGenerator<T> {
  yield* values;
}

function setHeaders(wire: Wire, headers: readonly Header[], trailers: readonly Header[]): void {
  addHeaders(headers, wire.responseHeader);
  addHeaders(trailers, wire.responseTrailer);
}

function infoOf({ requestHeader, url, timeoutMs }: Wire, requests: readonly Any[]): RequestInfo {
  const query = new URL(url, "http://localhost").searchParams;
  return {
    requestHeaders: tellHeaders(requestHeader),
    requests: [...requests],
    ...(timeoutMs !== undefined && { timeoutMs: BigInt(timeoutMs) }),
    ...(query.size > 0 && {
      connectGetInfo: { queryParams: [...query].map(([name, value]) => ({ name, value: [value] })) },
    }),
  };
}

function withInfo(told: ToldError, info: RequestInfo): ConnectError {
  const error = errorOf(told);
  error.details.push({ desc: ConformancePayload_RequestInfoSchema, value: info });
  return error;
}

function pack<D extends DescMessage>(desc: D, message: MessageShape<D>): Any {
  return anyPack(desc, message);
}
