import type { FastifyInstance, FastifyReply } from "fastify";

// Where Fastify hosts a route, but does not read its request or write its answer.

/** Leaves the bodies of a scope's requests unread, whatever their content type. */
export function leaveBodies(scope: FastifyInstance): void {
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", (_request, _payload, done) => done(null));
}

/** Puts the headers that hooks gave a reply (request id, CORS) on its raw answer: `reply.send` would have done so. */
export function copyHeaders(reply: FastifyReply): void {
  for (const [name, value] of Object.entries(reply.getHeaders())) {
    if (value !== undefined) reply.raw.setHeader(name, value);
  }
}
