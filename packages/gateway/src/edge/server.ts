import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { ServerHttp2Stream } from "node:http2";
import { Code, cors as connectCors } from "@connectrpc/connect";
import cors from "@fastify/cors";
import { type FastifyInstance, type FastifyReply, type FastifyRequest, fastify } from "fastify";
import type { Logger } from "pino";
import { internalError, PublicError } from "../errors.ts";
import { type CallRecord, createCallRecord } from "../observe/call-record.ts";
import { createRequestLog } from "../observe/request-log.ts";
import { createListener, type Listener, type ListenerOptions } from "./listener.ts";
import { partialHeader } from "./partial-header.ts";
import { refusalBody } from "./refusal.ts";
import { requestProblem } from "./request-rules.ts";

/** What the public server needs. */
export interface ServerOptions {
  readonly listener: ListenerOptions;
  /** The browser origins that may call; none by default. */
  readonly corsOrigins: readonly string[];
  /** The addresses and networks (CIDR) whose `x-forwarded-for` is believed; none by default. */
  readonly trustedProxies: readonly string[];
  /** Of the reasons of errors. */
  readonly errorDomain: string;
  readonly log: Logger;
}

/** The public server, before its routes. */
export interface Server {
  readonly app: FastifyInstance;
  readonly listener: Listener;
  /** The record that was started for a request. */
  readonly recordOf: (request: FastifyRequest) => CallRecord;
}

/**
 * Creates the Fastify server of the public port: strict about what a request looks like, with a request id on every
 * answer, CORS, and one log line for each request when its answer is over.
 */
export async function createServer({
  listener: listenerOptions,
  corsOrigins,
  trustedProxies,
  errorDomain,
  log,
}: ServerOptions): Promise<Server> {
  let listener: Listener | undefined;
  const app: FastifyInstance = fastify({
    genReqId,
    trustProxy: trustedProxies.length === 0 ? false : [...trustedProxies],
    frameworkErrors: (error, request, reply) => {
      begin(request, reply).error = error;
      void refuse(request, reply, error);
    },
    serverFactory: (handler) => {
      listener = createListener(handler, listenerOptions);
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
  const writeLog = createRequestLog(log);
  const end = (record: CallRecord, raw: ServerResponse): void => {
    const facts = answerFacts(raw);
    // Left before anything could be decided.
    if (!facts.complete) record.outcome ??= Code.Canceled;
    writeLog(record, facts);
  };
  /** For every request, those included whose path cannot be decoded, which Fastify keeps from the hooks. */
  const begin = (request: FastifyRequest, reply: FastifyReply): CallRecord => {
    const record = startRecord(request);
    records.set(request, record);
    // A moment later: what a caller's leaving ends has yet to note how it ended.
    reply.raw.once("close", () => setImmediate(end, record, reply.raw));
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
  await app.register(cors, corsOptions(corsOrigins));
  if (listener === undefined) throw new Error("Fastify did not ask for its server");
  return {
    app,
    listener,
    recordOf: (request) => {
      const record = records.get(request);
      if (record === undefined) throw new Error("the request did not pass the first hook");
      return record;
    },
  };
}

/** A caller's id is kept if it is harmless to repeat; it helps to follow a call through several systems. */
function genReqId(request: IncomingMessage): string {
  const given = request.headers["x-request-id"];
  return typeof given === "string" && /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : randomUUID();
}

function startRecord(request: FastifyRequest): CallRecord {
  const [path = ""] = request.url.split("?", 1);
  return createCallRecord({
    requestId: request.id,
    httpMethod: request.method,
    path: path.slice(0, 256),
    address: request.ip,
  });
}

function answerFacts(raw: ServerResponse): { status: number; complete: boolean } {
  // Of HTTP/2, an answer also counts as finished when its stream was reset.
  const reset = "stream" in raw && (raw.stream as Partial<ServerHttp2Stream> | undefined)?.rstCode;
  return { status: raw.statusCode, complete: raw.writableFinished && !reset };
}

/** Connect's own header lists, and what Portico adds to them. */
function corsOptions(origins: readonly string[]) {
  return {
    origin: origins.length === 0 ? false : [...origins],
    methods: [...connectCors.allowedMethods],
    allowedHeaders: [
      ...connectCors.allowedHeaders,
      "authorization",
      "x-api-key",
      "x-request-id",
      "if-none-match",
    ],
    exposedHeaders: [
      ...connectCors.exposedHeaders,
      "x-request-id",
      "retry-after",
      "ratelimit",
      "ratelimit-policy",
      "etag",
      partialHeader,
    ],
    // Browsers ask again after two hours; Chromium allows no longer.
    maxAge: 7_200,
  };
}
