import { createRegistry, type DescMethod, type Message, type Registry } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ConnectRouter,
  type ContextValues,
  createConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type MethodImpl,
} from "@connectrpc/connect";
import type { UniversalHandler, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { universalResponseToNodeResponse } from "@connectrpc/connect-node";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Admit, Arrival } from "../admit.ts";
import type { Call } from "../call.ts";
import { messagesInFiles } from "../descriptors.ts";
import { type ErrorContext, internalError, PublicError } from "../errors.ts";
import type { Invoke } from "../invoke.ts";
import type { CallRecord } from "../observe/call-record.ts";
import { entryOf, type MethodTable } from "../policy/method-table.ts";
import { copyHeaders, leaveBodies } from "./bypass.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { gzip } from "./compression.ts";
import { createTagOf, sayWhatToKeep, type TagOf, unlessKnown } from "./conditional-get.ts";
import { isEarly, writeAtOnce } from "./early-answer.ts";
import { createExchange, type Exchange } from "./exchange.ts";
import { tellMissing } from "./partial-header.ts";
import type { explainError, ProtocolErrorFacts } from "./protocol-errors.ts";
import { refusalBody } from "./refusal.ts";
import { plainStatusMessage } from "./status-message.ts";

/** The largest messages that are taken and given, in bytes. */
export interface MessageLimits {
  readonly maxRequestBytes: number;
  readonly maxResponseBytes: number;
  /** Smaller ones are given without compression, which would cost more than it saves. */
  readonly gzipMinBytes: number;
}

/** What the protocols need. */
export interface ProtocolParts {
  readonly methods: MethodTable;
  readonly admit: Admit;
  readonly invoke: Invoke;
  readonly limits: MessageLimits;
  /** What the bodies of all requests have to share. */
  readonly inFlightBytes: ByteBudget;
  /** Puts whatever ends a call into words and details: {@link explainError}. */
  readonly explain: typeof explainError;
  /** Of the reasons of errors. */
  readonly errorDomain: string;
  /** The record that was started for a request. */
  readonly recordOf: (request: FastifyRequest) => CallRecord;
}

/**
 * Serves gRPC, gRPC-Web and Connect (JSON and binary, GET for methods without side effects) on a Fastify server.
 *
 * Every call, whatever its protocol, goes through `admit` before its body is read and through `invoke` after: the
 * router has no other way to a handler, and without an admitted call `invoke` is not reached.
 */
export function serveProtocols(app: FastifyInstance, parts: ProtocolParts): void {
  const tagOf = createTagOf(parts.methods.keys());
  const bySize = Map.groupBy(parts.methods.keys(), (method) => maxRequestBytes(method, parts));
  const handlers = [...bySize].flatMap(([readMaxBytes, methods]) => {
    const router = createRouter(readMaxBytes, parts);
    for (const method of methods) route(router, method, parts.invoke, tagOf);
    return router.handlers;
  });
  app.register(async (scope) => {
    // The router reads bodies itself, after `admit`.
    leaveBodies(scope);
    for (const handler of handlers) {
      scope.all(handler.requestPath, (request, reply) => serve(handler, request, reply, parts));
    }
  });
}

/**
 * A router for the methods that take requests of one size: options of a single method would replace those of the router,
 * the gate included.
 */
function createRouter(readMaxBytes: number, parts: ProtocolParts): ConnectRouter {
  return createConnectRouter({
    acceptCompression: [gzip],
    readMaxBytes,
    writeMaxBytes: parts.limits.maxResponseBytes,
    compressMinBytes: parts.limits.gzipMinBytes,
    binaryOptions: { readUnknownFields: false, writeUnknownFields: false },
    jsonOptions: { ...jsonOptions, registry: registryOf(parts.methods.keys()) },
    requestGate: (context) => gate(context, parts),
  });
}

function maxRequestBytes(method: DescMethod, { methods, limits }: ProtocolParts): number {
  return entryOf(methods, method).maxRequestBytes ?? limits.maxRequestBytes;
}

/** A JSON field that does not exist is an error that names it: a mistyped filter must not list everything. */
const jsonOptions = { ignoreUnknownFields: false, ...strictTextDecoder() };

/**
 * An option of JSON, which the types do not know of, that refuses what is not UTF-8. See "Invalid UTF-8 in JSON is
 * replaced" in docs/upstream-bugs.md.
 */
function strictTextDecoder() {
  return { textDecoder: new TextDecoder("utf-8", { fatal: true }) };
}

/**
 * The messages that JSON can show in a `google.protobuf.Any`: those that the public protos know of. Not their extensions,
 * which have no policy: they are dropped from binary messages, and no key of what is kept has them.
 */
function registryOf(methods: Iterable<DescMethod>): Registry {
  return createRegistry(...messagesInFiles(Array.from(methods, ({ parent }) => parent.file)));
}

const exchangeKey = createContextKey<Exchange | undefined>(undefined, { description: "exchange" });
const callKey = createContextKey<Call | undefined>(undefined, { description: "admitted call" });

/** Runs for every call, when its headers are there. */
async function gate(context: HandlerContext, parts: ProtocolParts): Promise<void> {
  const { method, requestHeader: headers, signal } = context;
  const exchange = required(context.values, exchangeKey);
  const { record } = exchange;
  record.protocol = context.protocolName;
  record.rpc = `${context.service.typeName}/${method.name}`;
  // The router aborts with every error before it writes it down: those of `admit`, of decoding and of `invoke`.
  signal.addEventListener("abort", () => {
    const context = { requestId: record.requestId, domain: parts.errorDomain };
    const faultyField = () => exchange.findJsonFault(method.input);
    record.reason = parts.explain(signal.reason, errorFacts(method, context, parts, faultyField));
    noteEnd(record, signal.reason);
  });
  const timeoutMs = context.timeoutMs();
  const { certificate, setHeader } = exchange;
  const { responseHeader, responseTrailer } = context;
  const arrival: Arrival = {
    ...{ method, headers, certificate, timeoutMs, signal, record },
    ...{ setHeader, responseHeader, responseTrailer },
  };
  const call = await parts.admit(arrival).catch((error: unknown) => {
    throw error instanceof PublicError ? error : internalError(error);
  });
  exchange.endWith(call.signal);
  context.values.set(callKey, call);
}

/** Notes the end of a call that `invoke` did not note. */
function noteEnd(record: CallRecord, reason: unknown): void {
  const code = endCode(reason);
  // After "ok", only an answer that cannot be encoded, or is too large, is still a failure of the call.
  if (record.outcome === "ok" ? !encodingCodes.has(code) : record.outcome !== undefined) return;
  record.outcome = code;
  if (code === Code.Canceled) record.reason = "CALLER_LEFT";
  // An error about decoding quotes the body, which has no place in the log.
  if (reason instanceof Error && (reason instanceof PublicError || code !== Code.InvalidArgument))
    record.error = reason.cause ?? reason;
}

/** An `AbortError` is what the router aborts with when the caller has left, or all is well. */
function endCode(reason: unknown): Code {
  if (reason instanceof ConnectError) return reason.code;
  return reason instanceof Error && reason.name === "AbortError" ? Code.Canceled : Code.Internal;
}

const encodingCodes: ReadonlySet<Code> = new Set([Code.Internal, Code.ResourceExhausted]);

function route(router: ConnectRouter, method: DescMethod, invoke: Invoke, tagOf: TagOf): void {
  const unary = async (request: Message, { values, requestMethod, responseHeader }: HandlerContext) => {
    const call = required(values, callKey);
    const answer = await invoke.unary(method, request, call);
    tellMissing(call, responseHeader);
    if (requestMethod === "GET" && call.record.lifetime !== undefined)
      responseHeader.set("etag", tagOf(method, answer, responseHeader.get("content-type") ?? ""));
    return answer;
  };
  const stream = async function* (
    request: Message | AsyncIterable<Message>,
    { values, responseTrailer }: HandlerContext,
  ) {
    const call = required(values, callKey);
    try {
      yield* invoke.stream(method, request, call);
    } finally {
      // Also of a stream that breaks: what it had sent before may lack something.
      tellMissing(call, responseTrailer);
    }
  };
  /** One answer to a stream of requests. */
  const single = async (requests: AsyncIterable<Message>, context: HandlerContext) => {
    let answer: Message | undefined;
    for await (const message of stream(requests, context)) answer = message;
    return answer;
  };
  const implementations = {
    unary,
    server_streaming: stream,
    bidi_streaming: stream,
    client_streaming: single,
  };
  router.rpc(method, implementations[method.methodKind] as unknown as MethodImpl<DescMethod>);
}

/** A call that was not admitted has no `Call`, and so no way on. */
function required<T>(
  values: ContextValues,
  key: { readonly id: symbol; readonly defaultValue: T | undefined },
): T {
  const value = values.get(key);
  if (value === undefined) throw new Error("the call was not admitted");
  return value;
}

async function serve(
  handler: UniversalHandler,
  request: FastifyRequest,
  reply: FastifyReply,
  parts: ProtocolParts,
): Promise<void> {
  const record = parts.recordOf(request);
  reply.hijack();
  try {
    const values = createContextValues();
    const exchange = createExchange(request, reply, record, values, {
      maxRequestBytes: maxRequestBytes(handler.method, parts),
      inFlightBytes: parts.inFlightBytes,
    });
    values.set(exchangeKey, exchange);
    const given = await handler(exchange.request);
    if (request.method === "GET") sayWhatToKeep(entryOf(parts.methods, handler.method), exchange, given);
    // A method that is not there for this caller is answered like one that is not there at all.
    const answer =
      record.reason === "METHOD_UNKNOWN" && given.status === 501
        ? { ...given, status: 404 }
        : explain(handler, request, given, parts);
    copyHeaders(reply);
    const sent = unlessKnown(answer, exchange.request.header.get("if-none-match"));
    const paced = sent.body === undefined ? sent : { ...sent, body: exchange.answer(sent.body) };
    const write = isEarly(handler.method, request.raw) ? writeAtOnce : universalResponseToNodeResponse;
    await write(plainStatusMessage(paced), reply.raw);
  } catch (error) {
    record.error ??= error;
    if (!reply.raw.headersSent) reply.raw.writeHead(500);
    reply.raw.end();
  }
}

/** The router refuses a wrong HTTP method or content type without a word. */
function explain(
  handler: UniversalHandler,
  request: FastifyRequest,
  answer: UniversalServerResponse,
  parts: ProtocolParts,
): UniversalServerResponse {
  if (answer.body !== undefined) return answer;
  const message = refusals[answer.status]?.(handler, request.method);
  if (message === undefined) return answer;
  const error = new PublicError("PROTOCOL_UNSUPPORTED", message);
  const context = { requestId: request.id, domain: parts.errorDomain };
  // Who leaves errors as they are has no words for this either.
  if (parts.explain(error, errorFacts(handler.method, context, parts)) === undefined) return answer;
  const header = new Headers(answer.header);
  header.set("content-type", "application/json");
  if (answer.status === 405) header.set("allow", allowed(handler).join(", "));
  return { ...answer, header, body: once(refusalBody(error, context)) };
}

/** What the words of an error are made from. */
function errorFacts(
  method: DescMethod,
  context: ErrorContext,
  parts: ProtocolParts,
  faultyField: ProtocolErrorFacts["faultyField"] = () => undefined,
): ProtocolErrorFacts {
  return {
    context,
    maxRequestBytes: maxRequestBytes(method, parts),
    maxResponseBytes: parts.limits.maxResponseBytes,
    faultyField,
  };
}

const refusals: Record<number, ((handler: UniversalHandler, httpMethod: string) => string) | undefined> = {
  405: (handler) => `Use the HTTP method ${allowed(handler).join(" or ")}.`,
  505: () => "Use HTTP/2: the method takes a stream of requests.",
  415: ({ method }, httpMethod) => {
    if (httpMethod === "GET")
      return "Add ?encoding=json&message= and the request as JSON, percent-encoded; {} is %7B%7D.";
    return method.methodKind === "unary"
      ? "Use the content-type application/json, application/proto, application/grpc or application/grpc-web."
      : "Use the content-type application/connect+json, application/connect+proto, application/grpc or application/grpc-web.";
  },
};

function allowed({ allowedMethods }: UniversalHandler): string[] {
  return [...new Set(allowedMethods)];
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
