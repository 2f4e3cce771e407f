import type { FastifyInstance } from "fastify";

/** Whether the gateway wants traffic. */
export interface Readiness {
  /** False while it starts and while it drains. */
  ready: boolean;
}

/**
 * `/healthz` answers 200 as long as the process works: a reason to restart it. `/readyz` answers 200 while it wants
 * traffic, and 503 before it listens and while it drains: a reason to send none.
 *
 * Readiness does not follow the upstreams: when one is down, the other methods still work, and taking every replica
 * out would help nobody. `details` are for the admin port alone.
 */
export function serveHealth(app: FastifyInstance, readiness: Readiness, details?: () => object): void {
  app.get("/healthz", async () => ({ status: "ok" }));
  app.get("/readyz", async (_request, reply) => {
    if (!readiness.ready) reply.code(503);
    return { status: readiness.ready ? "ready" : "not ready", ...details?.() };
  });
}
