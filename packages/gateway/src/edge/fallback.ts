import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { copyHeaders, leaveBodies } from "./bypass.ts";

/** gRPC's `UNIMPLEMENTED`. */
const unimplemented = "12";

/**
 * Answers requests for methods that do not exist, in the words of the protocol that asks: gRPC and gRPC-Web take
 * their status from headers and need HTTP 200, everything else gets a 404 with Connect's JSON error. Their bodies are
 * not read.
 */
export function serveFallback(app: FastifyInstance): void {
  app.register(async (scope) => {
    leaveBodies(scope);
    scope.setNotFoundHandler(answerUnimplemented);
  });
}

function answerUnimplemented(request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const [path = ""] = request.url.split("?", 1);
  const message = `There is no method ${path.slice(0, 256)}.`;
  const contentType = request.headers["content-type"] ?? "";
  if (!contentType.startsWith("application/grpc"))
    // As bytes: to JSON, Fastify adds a charset, which Connect's errors do not have.
    return reply
      .code(404)
      .type("application/json")
      .send(Buffer.from(JSON.stringify({ code: "unimplemented", message })));
  reply.headers({
    "content-type": contentType,
    "grpc-status": unimplemented,
    "grpc-message": encodeURI(message),
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
