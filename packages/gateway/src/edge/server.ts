import type { ServerResponse } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import { Code } from "@connectrpc/connect";
import cors from "@fastify/cors";
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from "fastify";
import type { Logger } from "pino";
import { badCredentials } from "../admit.ts";
import { internalError, PublicError } from "../errors.ts";
import { type CallRecord, createCallRecord } from "../observe/call-record.ts";
import type { Observer } from "../observe/observer.ts";
import { corsOptions, createCorsHeaders } from "./cors.ts";
import { createListener, type Listener, type ListenerOptions } from "./listener.ts";
import { createOverload, type Overload, type OverloadLimits } from "./overload/overload.ts";
import { refusalBody } from "./refusal.ts";
import { requestIdOf } from "./request-id.ts";
import { requestProblem } from "./request-rules.ts";

/** What the public server needs. */
export interface ServerOptions {
  readonly listener: ListenerOptions;
  /** When requests are refused because there is too much to do. */
  readonly overload: OverloadLimits;
  /** The browser origins that may call; none by default. */
  readonly corsOrigins: readonly string[];
  /** The addresses and networks (CIDR) whose `x-forwarded-for` is believed; none by default. */
  readonly trustedProxies: readonly string[];
  /** Of the reasons of errors. */
  readonly errorDomain: string;
  /** Is told of every request, when it comes and when its answer is over. */
  readonly observer: Observer;
  readonly log: Logger;
}

/** The public server, before its routes. */
export interface Server {
  readonly app: FastifyInstance;
  readonly listener: Listener;
  readonly overload: Overload;
  /** The record that was started for a request. */
  readonly recordOf: (request: FastifyRequest) => CallRecord;
}

/**
 * Creates the Fastify server of the public port: strict about what a request looks like, with a request id on every
 * answer and CORS. Every request is watched until its answer is over.
 */
export async function createServer({
  listener: listenerOptions,
  overload: overloadLimits,
  corsOrigins,
  trustedProxies,
  errorDomain,
  observer,
  log,
}: ServerOptions): Promise<Server> {
  const overload = createOverload({
    ...overloadLimits,
    errorDomain,
    cors: createCorsHeaders(corsOrigins),
    log,
  });
  let listener: Listener | undefined;
  const app: FastifyInstance = fastify({
    genReqId: requestIdOf,
    trustProxy: trustedProxies.length === 0 ? false : [...trustedProxies],
    frameworkErrors: (error, request, reply) => {
      begin(request, reply).error = error;
      void refuse(request, reply, error);
    },
    serverFactory: (handler) => {
      listener = createListener(overload.guard(handler), listenerOptions);
      return listener.server;
    },
  });
  const send = (
    request: FastifyRequest,
    reply: FastifyReply,
    status: number,
    error: PublicError,
  ): FastifyReply =>
    reply
      .code(status)
      .type("application/json")
      .send(refusalBody(error, { requestId: request.id, domain: errorDomain }));
  /** What Fastify itself finds wrong, such as a path that cannot be decoded: its words for the caller's faults alone. */
  const refuse = (request: FastifyRequest, reply: FastifyReply, error: unknown): FastifyReply => {
    const status = error instanceof Error && "statusCode" in error ? Number(error.statusCode) : 500;
    const isCallers = error instanceof Error && status < 500;
    return send(
      request,
      reply,
      status,
      isCallers ? new PublicError("MALFORMED_REQUEST", error.message) : internalError(error),
    );
  };
  const records = new WeakMap<FastifyRequest, CallRecord>();
  const end = (record: CallRecord, request: FastifyRequest, raw: ServerResponse): void => {
    if (record.caller !== undefined && record.caller !== "anonymous")
      overload.recognise(request.raw, record.caller);
    else if (record.reason !== undefined && badCredentials.has(record.reason)) overload.forget(request.raw);
    const facts = answerFacts(raw);
    // Left before anything could be decided.
    if (!facts.complete) record.outcome ??= Code.Canceled;
    observer.ended(record, facts);
  };
  /** For every request, those included whose path cannot be decoded, which Fastify keeps from the hooks. */
  const begin = (request: FastifyRequest, reply: FastifyReply): CallRecord => {
    const record = startRecord(request, observer);
    records.set(request, record);
    // A moment later: what a caller's leaving ends has yet to note how it ended.
    reply.raw.once("close", () => setImmediate(end, record, request, reply.raw));
    reply.header("x-request-id", request.id);
    return record;
  };
  app.addHook("onRequest", async (request, reply) => {
    begin(request, reply);
    const problem = requestProblem(request.raw);
    if (problem === undefined) return;
    // The rest of such a request is not read.
    if (request.raw.httpVersionMajor === 1) reply.header("connection", "close");
    await send(request, reply, problem.status, new PublicError("MALFORMED_REQUEST", problem.message));
  });
  app.setErrorHandler((error, request, reply) => {
    const record = records.get(request);
    if (record !== undefined) record.error = error;
    return refuse(request, reply, error);
  });
  app.addHook("onClose", async () => overload.stop());
  await app.register(cors, corsOptions(corsOrigins));
  if (listener === undefined) throw new Error("Fastify did not ask for its server");
  return {
    app,
    listener,
    overload,
    recordOf: (request) => {
      const record = records.get(request);
      if (record === undefined) throw new Error("the request did not pass the first hook");
      return record;
    },
  };
}

function startRecord(request: FastifyRequest, observer: Observer): CallRecord {
  const [path = ""] = request.url.split("?", 1);
  return createCallRecord(
    {
      requestId: request.id,
      httpMethod: request.method,
      path: path.slice(0, 256),
      address: request.ip,
    },
    observer.began(request.headers),
  );
}

function answerFacts(raw: ServerResponse): { status: number; complete: boolean } {
  // Of HTTP/2, an answer also counts as finished when its stream was reset.
  const reset = "stream" in raw && (raw.stream as Partial<ServerHttp2Stream> | undefined)?.rstCode;
  return { status: raw.statusCode, complete: raw.writableFinished && !reset };
}
