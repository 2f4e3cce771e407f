import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import type { Attributes, Context, Span as OtelSpan, Tracer } from "@opentelemetry/api";
import type { Logger } from "pino";
import type { CallRecord } from "./call-record.ts";
import type { TracingFacts } from "./metric-facts.ts";
import { createReportingExporter } from "./reporting-exporter.ts";
import type { AnswerFacts } from "./request-log.ts";
import type { Span } from "./span.ts";
import { describeRequest, failureOf, type SpanKindName } from "./span-attributes.ts";
import { readTraceParent, type TraceParent, traceHeaders } from "./trace-parent.ts";
import { createSample } from "./trace-sampling.ts";

/** Where traces go. */
export interface TracingConfig {
  /** The base URL of an OTLP collector, such as `http://collector:4318`. */
  readonly endpoint: string;
  /** What the gateway is called in traces. */
  readonly serviceName: string;
  /** The part of the traces that is recorded, from 0 to 1. */
  readonly sampleRatio: number;
}

/** Traces requests. */
export interface Tracing {
  /** Begins the span of a request, as a part of its caller's trace if it has one. */
  readonly start: (headers: IncomingHttpHeaders) => Span;
  /** Ends the span of a request. One that called no method is only shown if it failed. */
  readonly ended: (record: CallRecord, answer: AnswerFacts) => void;
  readonly facts: () => TracingFacts;
  /** Sends what there is, for two seconds at most, and ends. */
  readonly close: () => Promise<void>;
}

/** How long sending the last spans may take, in milliseconds. */
const closeMs = 2_000;

/** How long spans wait for others to be sent with, in milliseconds. */
const sendEveryMs = 2_000;

/** How long sending some spans may take, in milliseconds. */
const exportMs = 5_000;

/** How many spans wait to be sent at most; what comes beyond is dropped. */
const maxWaiting = 4_096;

/** How many parts of a request are shown: a stream can have parts without end. */
const maxParts = 100;

/** The longest value of an attribute, in characters. */
const maxValueLength = 256;

/**
 * Starts tracing with OpenTelemetry: spans go to a collector as OTLP, in the background. Without a configuration there is
 * none, and OpenTelemetry's SDK for traces is not even loaded.
 *
 * A collector that is gone costs no request anything, and the log one line a minute. Nothing is registered globally, so
 * that several gateways may run in one process. What OpenTelemetry reads from the environment about its exporter, such as
 * `OTEL_EXPORTER_OTLP_HEADERS`, is respected.
 *
 * @example const tracing = await createTracing(config.tracing, log);
 */
export async function createTracing(
  config: TracingConfig | undefined,
  log: Logger,
): Promise<Tracing | undefined> {
  if (config === undefined) return undefined;
  const [api, sdk, { OTLPTraceExporter }, { resourceFromAttributes }] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/sdk-trace"),
    import("@opentelemetry/exporter-trace-otlp-proto"),
    import("@opentelemetry/resources"),
  ]);
  const url = `${config.endpoint.replace(/\/+$/, "")}/v1/traces`;
  const { exporter, facts } = createReportingExporter(
    new OTLPTraceExporter({ url, timeoutMillis: exportMs }),
    log,
  );
  const provider = new sdk.TracerProvider({
    resource: resourceFromAttributes({
      "service.name": config.serviceName,
      "service.instance.id": randomUUID(),
    }),
    // What is not sampled never gets here.
    sampler: new sdk.AlwaysOnSampler(),
    spanLimits: { attributeValueLengthLimit: maxValueLength },
    spanProcessors: [
      new sdk.BatchSpanProcessor({
        exporter,
        maxQueueSize: maxWaiting,
        scheduledDelayMillis: sendEveryMs,
        exportTimeoutMillis: exportMs,
      }),
    ],
  });
  const tracer = provider.getTracer("portico");
  const ids = new sdk.RandomIdGenerator();
  const sample = createSample(config.sampleRatio);
  const kinds = { internal: api.SpanKind.INTERNAL, client: api.SpanKind.CLIENT } as const;
  /** The spans of requests, which get their names when it is known what was called. */
  const requests = new WeakMap<Span, OtelSpan>();

  function contextOf(parent: TraceParent | undefined): Context {
    if (parent === undefined) return api.ROOT_CONTEXT;
    const { traceId, spanId, sampled } = parent;
    const traceFlags = sampled ? api.TraceFlags.SAMPLED : api.TraceFlags.NONE;
    return api.trace.setSpanContext(api.ROOT_CONTEXT, { traceId, spanId, traceFlags, isRemote: true });
  }

  return {
    start: (headers) => {
      const parent = readTraceParent(headers);
      if (!sample(parent?.sampled === true)) return unrecorded(parent, ids);
      const span = tracer.startSpan("request", { kind: api.SpanKind.SERVER }, contextOf(parent));
      const request = recorded(span, {
        tracer,
        state: parent?.state,
        left: maxParts,
        within: (outer) => api.trace.setSpan(api.ROOT_CONTEXT, outer),
        kindOf: (kind) => kinds[kind],
        errorStatus: api.SpanStatusCode.ERROR,
      });
      requests.set(request, span);
      return request;
    },
    ended: (record, answer) => {
      const span = requests.get(record.span);
      if (span === undefined) return;
      const { name, attributes, failed } = describeRequest(record, answer);
      // Probes, and strangers who try paths, would be most of all traces. A span that is not ended is not sent.
      if (record.rpc === undefined && !failed) return;
      span.updateName(name).setAttributes(attributes);
      if (failed) span.setStatus({ code: api.SpanStatusCode.ERROR });
      span.end();
    },
    facts,
    close: async () => {
      const { promise: late, resolve } = Promise.withResolvers<void>();
      const timer = setTimeout(resolve, closeMs);
      await Promise.race([provider.shutdown().catch(() => {}), late]);
      clearTimeout(timer);
    },
  };
}

/** What the spans of one request have in common. */
interface RequestTrace {
  readonly tracer: Tracer;
  readonly state: string | undefined;
  /** How many more parts are shown. */
  left: number;
  readonly within: (outer: OtelSpan) => Context;
  readonly kindOf: (kind: SpanKindName) => number;
  readonly errorStatus: number;
}

function recorded(span: OtelSpan, trace: RequestTrace): Span {
  const { traceId, spanId } = span.spanContext();
  const headers = traceHeaders(traceId, spanId, true, trace.state);
  return {
    child: (name, kind, attributes: Attributes = {}) => {
      if (trace.left <= 0) return silent(traceId, headers);
      trace.left -= 1;
      const options = { kind: trace.kindOf(kind), attributes };
      return recorded(trace.tracer.startSpan(name, options, trace.within(span)), trace);
    },
    set: (name, value) => void span.setAttribute(name, value),
    headers,
    traceId,
    end: (outcome, error) => {
      const failure = failureOf(outcome, error);
      if (failure !== undefined) span.setAttributes(failure).setStatus({ code: trace.errorStatus });
      span.end();
    },
  };
}

/** Whoever is called learns the trace, and that nobody records it. */
function unrecorded(
  parent: TraceParent | undefined,
  ids: { generateTraceId(): string; generateSpanId(): string },
): Span {
  const traceId = parent?.traceId ?? ids.generateTraceId();
  return silent(traceId, traceHeaders(traceId, ids.generateSpanId(), false, parent?.state));
}

/** A span that is not recorded, nor are its parts. */
function silent(traceId: string, headers: Span["headers"]): Span {
  const span: Span = { child: () => span, set() {}, headers, traceId, end() {} };
  return span;
}
