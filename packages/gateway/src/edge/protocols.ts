import type { DescMethod, Message } from "@bufbuild/protobuf";
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
import type { Admit } from "../admit.ts";
import type { Call } from "../call.ts";
import { PublicError } from "../errors.ts";
import type { Invoke } from "../invoke.ts";
import type { CallRecord } from "../observe/call-record.ts";
import type { PublicService } from "../service.ts";
import { copyHeaders, leaveBodies } from "./bypass.ts";
import { gzip } from "./compression.ts";
import { createExchange, type Exchange } from "./exchange.ts";
import { rewordProtocolError } from "./protocol-errors.ts";
import { plainStatusMessage } from "./status-message.ts";

/** The largest messages that are taken and given, in bytes. */
export interface MessageLimits {
  readonly maxRequestBytes: number;
  readonly maxResponseBytes: number;
}

/** What the protocols need. */
export interface ProtocolParts {
  readonly services: readonly PublicService[];
  readonly admit: Admit;
  readonly invoke: Invoke;
  readonly limits: MessageLimits;
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
  const router = createConnectRouter({
    acceptCompression: [gzip],
    readMaxBytes: parts.limits.maxRequestBytes,
    writeMaxBytes: parts.limits.maxResponseBytes,
    binaryOptions: { readUnknownFields: false, writeUnknownFields: false },
    jsonOptions,
    requestGate: (context) => gate(context, parts),
  });
  for (const { desc } of parts.services) {
    for (const method of desc.methods) route(router, method, parts.invoke);
  }
  app.register(async (scope) => {
    // The router reads bodies itself, after `admit`.
    leaveBodies(scope);
    for (const handler of router.handlers) {
      scope.all(handler.requestPath, (request, reply) => serve(handler, request, reply, parts));
    }
  });
}

/**
 * A JSON field that does not exist is an error that names it: a mistyped filter must not list everything. The
 * decoder, which the types do not know of, refuses what is not UTF-8 instead of replacing it.
 */
const jsonOptions = { ignoreUnknownFields: false, textDecoder: new TextDecoder("utf-8", { fatal: true }) };

const exchangeKey = createContextKey<Exchange | undefined>(undefined, { description: "exchange" });
const callKey = createContextKey<Call | undefined>(undefined, { description: "admitted call" });

/** Runs for every call, when its headers are there. */
async function gate(context: HandlerContext, { admit, limits }: ProtocolParts): Promise<void> {
  const { method, requestHeader: headers, signal } = context;
  const { record, findJsonFault, endWith } = required(context.values, exchangeKey);
  record.protocol = context.protocolName;
  record.rpc = `${context.service.typeName}/${method.name}`;
  // The router aborts with every error before it writes it down: those of `admit`, of decoding and of `invoke`.
  signal.addEventListener("abort", () => {
    rewordProtocolError(signal.reason, { limits, faultyField: () => findJsonFault(method.input) });
    noteEnd(record, signal.reason);
  });
  const call = await admit({ method, headers, timeoutMs: context.timeoutMs(), signal, record });
  endWith(call.signal);
  context.values.set(callKey, call);
}

/** Notes the end of a call that `invoke` did not note. */
function noteEnd(record: CallRecord, reason: unknown): void {
  const code = endCode(reason);
  // After "ok", only an answer that cannot be encoded, or is too large, is still a failure of the call.
  if (record.outcome === "ok" ? !encodingCodes.has(code) : record.outcome !== undefined) return;
  record.outcome = code;
  // An error about decoding quotes the body, which has no place in the log.
  if (reason instanceof Error && (reason instanceof PublicError || code !== Code.InvalidArgument))
    record.error = reason.cause ?? reason;
}

function endCode(reason: unknown): Code {
  if (isAbort(reason)) return Code.Canceled;
  return reason instanceof ConnectError ? reason.code : Code.Internal;
}

/**
 * What the router aborts with when the caller has left, or all is well. A reset of HTTP/2 has any code; a connection of
 * HTTP/1 that broke is `aborted`.
 */
function isAbort(reason: unknown): boolean {
  if (!(reason instanceof Error) || reason instanceof PublicError) return false;
  if (reason instanceof ConnectError && reason.code === Code.Aborted) return true;
  return (
    reason.name === "AbortError" || /^\[\w+\] http\/2 stream closed with error code/.test(reason.message)
  );
}

const encodingCodes: ReadonlySet<Code> = new Set([Code.Internal, Code.ResourceExhausted]);

function route(router: ConnectRouter, method: DescMethod, invoke: Invoke): void {
  const kind = method.methodKind === "unary" ? invoke.unary : invoke.stream;
  const run = (request: Message, context: HandlerContext) =>
    kind(method, request, required(context.values, callKey));
  router.rpc(method, run as unknown as MethodImpl<DescMethod>);
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
    const exchange = createExchange(request, reply, record, values);
    values.set(exchangeKey, exchange);
    const answer = explain(handler, request.method, await handler(exchange.request));
    copyHeaders(reply);
    const paced = answer.body === undefined ? answer : { ...answer, body: exchange.answer(answer.body) };
    await universalResponseToNodeResponse(plainStatusMessage(paced), reply.raw);
  } catch (error) {
    record.error ??= error;
    if (!reply.raw.headersSent) reply.raw.writeHead(500);
    reply.raw.end();
  }
}

/** The router refuses a wrong HTTP method or content type without a word. */
function explain(
  handler: UniversalHandler,
  httpMethod: string,
  answer: UniversalServerResponse,
): UniversalServerResponse {
  if (answer.body !== undefined) return answer;
  const message = refusals[answer.status]?.(handler, httpMethod);
  if (message === undefined) return answer;
  const header = new Headers(answer.header);
  header.set("content-type", "application/json");
  if (answer.status === 405) header.set("allow", allowed(handler).join(", "));
  return { ...answer, header, body: bytes(JSON.stringify({ code: "unimplemented", message })) };
}

const refusals: Record<number, ((handler: UniversalHandler, httpMethod: string) => string) | undefined> = {
  405: (handler) => `Use the HTTP method ${allowed(handler).join(" or ")}.`,
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

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield new TextEncoder().encode(text);
}
