import type { FastifyInstance } from "fastify";
import type { Metrics } from "../observe/metrics.ts";

/** `/metrics`, in the text format of Prometheus: for the admin port. */
export function serveMetrics(app: FastifyInstance, metrics: Pick<Metrics, "text">): void {
  app.get("/metrics", async (_request, reply) => {
    reply.type("text/plain; version=0.0.4; charset=utf-8");
    return metrics.text();
  });
}
