import type { FastifyInstance } from "fastify";
import type { Readiness } from "../readiness.ts";

/**
 * `/healthz` answers 200 as long as the process works: a reason to restart it. `/readyz` answers 200 while the gateway
 * wants traffic, and 503 before it listens, while it drains, and while upstreams are out of reach without which its rule
 * says that it is of no use: a reason to send none.
 *
 * What it lacks is said together with `details`, which are for the admin port alone.
 */
export function serveHealth(
  app: FastifyInstance,
  readiness: Pick<Readiness, "lacks">,
  details?: () => object,
): void {
  app.get("/healthz", async () => ({ status: "ok" }));
  app.get("/readyz", async (_request, reply) => {
    const lacks = readiness.lacks();
    if (lacks.length > 0) reply.code(503);
    const status = lacks.length === 0 ? "ready" : "not ready";
    return details === undefined ? { status } : { status, lacks, ...details() };
  });
}
