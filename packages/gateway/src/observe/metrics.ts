import type { Code } from "@connectrpc/connect";
import { PrometheusSerializer } from "@opentelemetry/exporter-prometheus";
import { emptyResource } from "@opentelemetry/resources";
import type { MetricData } from "@opentelemetry/sdk-metrics";
import { createBatchMetrics, createUpstreamMetrics } from "./call-metrics.ts";
import type { CallObserver, CallRecord } from "./call-record.ts";
import { codeName } from "./codes.ts";
import { factMetrics } from "./fact-metrics.ts";
import { byteBounds, createHistogram, type Histogram, secondBounds } from "./histogram.ts";
import { counter, distribution, gauge, one } from "./metric-data.ts";
import type { MetricFacts } from "./metric-facts.ts";
import type { AnswerFacts } from "./request-log.ts";
import { createRuntimeMetrics } from "./runtime-metrics.ts";
import { createTally } from "./tally.ts";

/** What a gateway counts. */
export interface Metrics {
  /** A request has come. */
  readonly began: () => void;
  /** Its answer is over. */
  readonly ended: (record: CallRecord, answer: AnswerFacts) => void;
  /** Is told of the calls and batches that are made for requests. */
  readonly observer: CallObserver;
  /** All metrics, in the text format of Prometheus. */
  readonly text: () => string;
  readonly close: () => void;
}

/** What an answer is: the duration of a stream says nothing about speed. */
export type MethodKind = "unary" | "stream";

/** What metrics are made of. */
export interface MetricsParts {
  /** All that can be called, by `package.Service/Method`: nothing else becomes a label. */
  readonly methods: ReadonlyMap<string, MethodKind>;
  /** What the stages of the gateway say of themselves. Asked whenever the metrics are read. */
  readonly facts: () => MetricFacts;
}

/**
 * Creates the metrics of one gateway. Each label has few values, all of which are known at the start: nothing that a
 * caller or an upstream writes becomes one.
 *
 * Counting is a look-up and an addition. OpenTelemetry's own instruments work out the identity of the labels for each
 * value, at over a microsecond; its model of metrics and its Prometheus text are used as they are.
 */
export function createMetrics({ methods, facts }: MetricsParts): Metrics {
  const requests = createRequestMetrics(methods);
  const upstreams = createUpstreamMetrics();
  const batches = createBatchMetrics();
  const runtime = createRuntimeMetrics();
  const serializer = new PrometheusSerializer("", false, undefined, true, true);
  return {
    began: requests.began,
    ended: requests.ended,
    observer: { upstreamCall: upstreams.note, batch: batches.note },
    text: () =>
      serializer.serialize({
        resource: emptyResource(),
        scopeMetrics: [
          {
            scope: { name: "portico" },
            metrics: [
              ...requests.read(),
              ...upstreams.read(),
              ...batches.read(),
              ...factMetrics(facts()),
              ...runtime.read(),
            ],
          },
        ],
      }),
    close: runtime.close,
  };
}

/** What is counted for each method. */
interface MethodMetrics {
  readonly rpc: string;
  readonly duration: Histogram;
  readonly requestBytes: Histogram;
  readonly responseBytes: Histogram;
}

function createRequestMetrics(methods: ReadonlyMap<string, MethodKind>) {
  const byMethod = new Map(Array.from(methods, ([rpc, kind]) => [rpc, createMethodMetrics(rpc, kind)]));
  const others = createMethodMetrics("", "");
  const ends = createTally("rpc", "protocol", "code");
  const refusals = createTally("reason");
  const partial = createTally("rpc");
  let inFlight = 0;
  return {
    began: (): void => {
      inFlight += 1;
    },
    ended: (record: CallRecord, answer: AnswerFacts): void => {
      inFlight -= 1;
      const { rpc, duration, requestBytes, responseBytes } = byMethod.get(record.rpc ?? "") ?? others;
      duration.observe((performance.now() - record.startedAt) / 1_000);
      requestBytes.observe(record.requestBytes);
      responseBytes.observe(record.responseBytes);
      ends.add(rpc, record.protocol ?? "", endOf(record.outcome, answer.status));
      if (record.reason !== undefined) refusals.add(record.reason);
      if (record.partial !== undefined) partial.add(rpc);
    },
    read: (): MetricData[] => {
      const each = [...byMethod.values(), others];
      const all = (pick: (metrics: MethodMetrics) => Histogram) =>
        each.map(pick).filter((histogram) => histogram.count() > 0);
      return [
        counter(
          "portico_requests_total",
          "Requests on the public port that are over; rpc is empty for what calls no method.",
          ends.points(),
        ),
        distribution(
          "portico_request_duration_seconds",
          "From the headers of a request to the end of its answer.",
          all(({ duration }) => duration),
        ),
        distribution(
          "portico_request_bytes",
          "Bytes of the body of a request.",
          all(({ requestBytes }) => requestBytes),
        ),
        distribution(
          "portico_response_bytes",
          "Bytes of the body of an answer.",
          all(({ responseBytes }) => responseBytes),
        ),
        gauge("portico_requests_in_flight", "Requests on the public port that are not over.", one(inFlight)),
        counter(
          "portico_refusals_total",
          "Calls that failed, by the reason that their caller was given.",
          refusals.points(),
        ),
        counter("portico_partial_answers_total", "Answers that lacked something.", partial.points()),
      ];
    },
  };
}

function createMethodMetrics(rpc: string, kind: MethodKind | ""): MethodMetrics {
  return {
    rpc,
    duration: createHistogram({ rpc, kind }, secondBounds),
    requestBytes: createHistogram({ rpc }, byteBounds),
    responseBytes: createHistogram({ rpc }, byteBounds),
  };
}

/** What is no RPC has the class of its status. */
function endOf(outcome: "ok" | Code | undefined, status: number): string {
  if (outcome !== undefined) return codeName(outcome);
  return status < 400 ? "ok" : `http_${Math.floor(status / 100)}xx`;
}
