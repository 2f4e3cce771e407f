import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { unknownMethod } from "../policy/authorize.ts";
import { copyHeaders, leaveBodies } from "./bypass.ts";
import { refusalBody, refusalHeaders } from "./refusal.ts";
import { encodeStatusMessage } from "./status-message.ts";

/**
 * Answers requests for methods that do not exist, in the words of the protocol that asks: gRPC and gRPC-Web take
 * their status from headers and need HTTP 200, everything else gets a 404 with Connect's JSON error. Their bodies are
 * not read.
 *
 * @param domain of the errors' reasons
 */
export function serveFallback(app: FastifyInstance, domain: string): void {
  app.register(async (scope) => {
    leaveBodies(scope);
    scope.setNotFoundHandler((request, reply) => answerUnimplemented(request, reply, domain));
  });
}

function answerUnimplemented(request: FastifyRequest, reply: FastifyReply, domain: string): FastifyReply {
  const [path = ""] = request.url.split("?", 1);
  const error = unknownMethod(path);
  const context = { requestId: request.id, domain };
  const contentType = request.headers["content-type"] ?? "";
  if (!contentType.startsWith("application/grpc"))
    // As bytes: to JSON, Fastify adds a charset, which Connect's errors do not have.
    // Not for a cache to remember: the next deployment may have the method.
    return reply
      .code(404)
      .header("cache-control", "no-store")
      .type("application/json")
      .send(refusalBody(error, context));
  reply.headers({
    "content-type": contentType,
    ...refusalHeaders(error, context),
    "grpc-message": encodeStatusMessage(error.rawMessage),
  });
  return sendHeadersOnly(reply);
}

/**
 * A gRPC status counts in headers only if they end the stream. `reply.send` writes the headers first and ends it
 * after them; over HTTP/2, only an `end` that comes before any header is written makes one frame of both.
 */
function sendHeadersOnly(reply: FastifyReply): FastifyReply {
  reply.hijack();
  copyHeaders(reply);
  reply.raw.end();
  return reply;
}
