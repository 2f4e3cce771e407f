import type { MetricData } from "@opentelemetry/sdk-metrics";
import { counter, gauge, type Point } from "./metric-data.ts";
import type { MetricFacts, UpstreamFacts } from "./metric-facts.ts";

/** What is known of the upstreams: how much they are given to do, and how they are connected. */
export function upstreamMetrics(facts: MetricFacts["upstreams"]): MetricData[] {
  const upstreams = Object.entries(facts ?? {});
  return [...gateMetrics(upstreams), ...sessionMetrics(upstreams)];
}

type Named<F> = readonly (readonly [upstream: string, facts: F])[];

const breakerStates = { closed: 0, "half-open": 1, open: 2 } as const;

function gateMetrics(upstreams: Named<UpstreamFacts>): MetricData[] {
  const each = (value: (facts: UpstreamFacts) => number): Point[] =>
    upstreams.map(([upstream, facts]) => [{ upstream }, value(facts)]);
  return [
    gauge(
      "portico_upstream_in_flight",
      "Calls to an upstream that run.",
      each(({ inFlight }) => inFlight),
    ),
    gauge(
      "portico_upstream_limit",
      "How many calls to an upstream may run at a time.",
      each(({ limit }) => limit),
    ),
    counter(
      "portico_upstream_refused_total",
      "Calls that the limit of an upstream held back.",
      each(({ refused }) => refused),
    ),
    gauge(
      "portico_upstream_breaker_state",
      "0 while calls go through, 1 while one is tried, 2 while none is.",
      each(({ breaker }) => breakerStates[breaker]),
    ),
    counter(
      "portico_upstream_breaker_opened_total",
      "How often the breaker of an upstream opened.",
      each(({ breakerOpened }) => breakerOpened),
    ),
    counter(
      "portico_upstream_retries_total",
      "Attempts after the first.",
      each(({ retries }) => retries),
    ),
    counter(
      "portico_upstream_retries_denied_total",
      "Retries that the budget did not allow.",
      each(({ retriesDenied }) => retriesDenied),
    ),
    counter(
      "portico_upstream_hedges_total",
      "Second attempts while the first was on its way.",
      each(({ hedges }) => hedges),
    ),
  ];
}

const addressStates = ["idle", "connecting", "ready", "unreachable"] as const;

function sessionMetrics(upstreams: Named<UpstreamFacts>): MetricData[] {
  const sessions = upstreams.flatMap(([upstream, { session }]) =>
    session === undefined ? [] : [[upstream, session] as const],
  );
  const each = (value: (facts: (typeof sessions)[number][1]) => number): Point[] =>
    sessions.map(([upstream, facts]) => [{ upstream }, value(facts)]);
  return [
    gauge(
      "portico_upstream_addresses",
      "The addresses of an upstream, by their state.",
      sessions.flatMap(([upstream, { addresses }]) =>
        addressStates.map((state): Point => {
          const count = addresses.filter((address) => address.state === state).length;
          return [{ upstream, state }, count];
        }),
      ),
    ),
    gauge(
      "portico_upstream_addresses_ejected",
      "The addresses of an upstream that are left out for their failures.",
      each(({ addresses }) => addresses.filter(({ ejected }) => ejected).length),
    ),
    gauge(
      "portico_upstream_connections",
      "Connections to an upstream, by the state of their address.",
      sessions.flatMap(([upstream, { addresses }]) =>
        addressStates.map((state): Point => {
          const those = addresses.filter((address) => address.state === state);
          return [{ upstream, state }, those.reduce((sum, { connections }) => sum + connections, 0)];
        }),
      ),
    ),
    counter(
      "portico_upstream_connections_opened_total",
      "Connections that were made to an upstream.",
      each(({ opened }) => opened),
    ),
    counter(
      "portico_upstream_connections_lost_total",
      "Connections to an upstream that broke.",
      each(({ lost }) => lost),
    ),
    counter(
      "portico_upstream_ejections_total",
      "How often an address was left out for its failures.",
      each(({ ejections }) => ejections),
    ),
    counter(
      "portico_upstream_ping_timeouts_total",
      "Connections that were given up since no ping was answered.",
      each(({ pingTimeouts }) => pingTimeouts),
    ),
  ];
}
