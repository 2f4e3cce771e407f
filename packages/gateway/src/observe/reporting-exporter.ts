import type { SpanExporter } from "@opentelemetry/sdk-trace";
import type { Logger } from "pino";
import type { TracingFacts } from "./metric-facts.ts";

/** An exporter that never fails, and what became of the spans. */
export interface ReportingExporter {
  readonly exporter: SpanExporter;
  readonly facts: () => TracingFacts;
}

/** How often the log says that spans cannot be sent, in milliseconds. */
const reportMs = 60_000;

/**
 * Reports to the log what the exporter cannot send. To the SDK, everything has been sent: it has a global handler of
 * errors, and no better idea.
 */
export function createReportingExporter(inner: SpanExporter, log: Pick<Logger, "warn">): ReportingExporter {
  const sent = { exported: 0, failed: 0 };
  let reportedAt = Number.NEGATIVE_INFINITY;
  const report = (spans: number, error: Error | undefined): void => {
    sent.failed += spans;
    if (performance.now() - reportedAt < reportMs) return;
    reportedAt = performance.now();
    log.warn({ err: error, failed: sent.failed }, "spans of traces cannot be sent");
  };
  const exporter: SpanExporter = {
    export: (spans, done) =>
      inner.export(spans, ({ code, error }) => {
        // 0 is success; the enumeration belongs to a package of the SDK's own.
        if (code === 0) sent.exported += spans.length;
        else report(spans.length, error);
        done({ code: 0 });
      }),
    shutdown: () => inner.shutdown(),
  };
  return { exporter, facts: (): TracingFacts => ({ ...sent }) };
}
