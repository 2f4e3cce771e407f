import type { FastifyInstance } from "fastify";
import type { DemoIdentity } from "../policy/identity/demo-identity.ts";

/**
 * `GET /demo/token?sub=ada&role=admin` answers a bare token. Exists in demo mode alone.
 *
 * @param roles the roles of the access file, to name them where another one is asked for
 */
export function serveDemoToken(app: FastifyInstance, identity: DemoIdentity, roles: readonly string[]): void {
  app.get<{ Querystring: Record<string, unknown> }>("/demo/token", async (request, reply) => {
    const { sub, role } = request.query;
    if (typeof sub !== "string" || !/^[\w.@-]{1,64}$/.test(sub))
      return reply.code(400).type("text/plain").send("sub: must be 1 to 64 letters, digits or . _ - @\n");
    if (typeof role !== "string" || !roles.includes(role))
      return reply
        .code(400)
        .type("text/plain")
        .send(`role: must be one of ${roles.join(", ")}\n`);
    return reply
      .type("text/plain")
      .header("cache-control", "no-store")
      .send(await identity.token(sub, role));
  });
}
