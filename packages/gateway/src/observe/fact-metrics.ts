import type { MetricData } from "@opentelemetry/sdk-metrics";
import { counter, gauge, one, type Point } from "./metric-data.ts";
import type { AnswerCacheFacts, EntityCacheFacts, MetricFacts } from "./metric-facts.ts";
import { upstreamMetrics } from "./upstream-metrics.ts";

/** The metrics that are what the stages of the gateway say when they are asked. What says nothing has no values. */
export function factMetrics(facts: MetricFacts): MetricData[] {
  const { ready, usage, tracing } = facts;
  return [
    ...(usage === undefined
      ? []
      : [
          gauge("portico_build_info", "What runs; always 1.", [[{ node: usage.node }, 1]]),
          counter(
            "portico_process_cpu_seconds_total",
            "Processor time of the process.",
            one(usage.cpuSeconds),
          ),
          gauge(
            "portico_process_resident_bytes",
            "Memory of the process, as the system sees it.",
            one(usage.residentBytes),
          ),
        ]),
    ...(ready === undefined
      ? []
      : [gauge("portico_ready", "1 while the gateway wants traffic, else 0.", one(Number(ready)))]),
    ...listenerMetrics(facts.listener),
    ...overloadMetrics(facts.overload),
    ...upstreamMetrics(facts.upstreams),
    ...cacheMetrics(facts.answers, facts.entities),
    ...(tracing === undefined
      ? []
      : [
          counter("portico_spans_total", "Spans of traces, by whether they could be sent.", [
            [{ result: "sent" }, tracing.exported],
            [{ result: "failed" }, tracing.failed],
          ]),
        ]),
  ];
}

function listenerMetrics(facts: MetricFacts["listener"]): MetricData[] {
  if (facts === undefined) return [];
  return [
    gauge(
      "portico_connections",
      "Open connections of clients, by what is spoken on them.",
      Object.entries(facts.connections).map(([protocol, count]) => [{ protocol }, count]),
    ),
    counter(
      "portico_connections_refused_total",
      "Connections above the limit.",
      one(facts.refusedConnections),
    ),
    counter("portico_connections_aged_total", "Connections that were ended for their age.", one(facts.aged)),
    gauge(
      "portico_in_flight_bytes",
      "Bytes of messages that are held for requests in flight.",
      one(facts.inFlightBytes),
    ),
  ];
}

function overloadMetrics(facts: MetricFacts["overload"]): MetricData[] {
  if (facts === undefined) return [];
  const shed = Object.entries(facts.shed).flatMap(([cause, classes]) =>
    Object.entries(classes).map(([name, count]): Point => [{ cause, class: name }, count]),
  );
  return [
    gauge("portico_concurrency_limit", "How many calls may run at a time, as it adapts.", one(facts.limit)),
    gauge("portico_concurrency", "How many calls count against that limit.", one(facts.inFlight)),
    counter("portico_shed_total", "Calls turned away for overload, by cause and kind of caller.", shed),
  ];
}

function cacheMetrics(
  answers: AnswerCacheFacts | undefined,
  entities: EntityCacheFacts | undefined,
): MetricData[] {
  const lookups: Point[] = [
    ...byResult("answers", answers, answers && { shared: answers.shared }),
    ...byResult("entities", entities, entities && { negative: entities.negativeHits }),
  ];
  const each = (value: (facts: AnswerCacheFacts | EntityCacheFacts) => number): Point[] =>
    Object.entries({ answers, entities }).flatMap(([cache, facts]) =>
      facts === undefined ? [] : [[{ cache }, value(facts)] as const],
    );
  return [
    counter("portico_cache_lookups_total", "What was looked for in a cache, by what was found.", lookups),
    gauge(
      "portico_cache_entries",
      "What a cache holds in memory.",
      each(({ entries }) => entries),
    ),
    gauge(
      "portico_cache_bytes",
      "How much memory that takes.",
      each(({ bytes }) => bytes),
    ),
    counter(
      "portico_cache_failed_refreshes_total",
      "Fetches in the background that failed.",
      each(({ failedRefreshes }) => failedRefreshes),
    ),
  ];
}

function byResult(
  cache: string,
  facts: AnswerCacheFacts | EntityCacheFacts | undefined,
  more: Readonly<Record<string, number>> | undefined,
): Point[] {
  if (facts === undefined) return [];
  const { hits: hit, stale, coalesced, misses: miss } = facts;
  return Object.entries({ hit, stale, coalesced, miss, ...more }).map(([result, count]) => [
    { cache, result },
    count,
  ]);
}
