import type { Code } from "@connectrpc/connect";

/** What can be said about a part of the work. */
export type SpanValue = string | number | boolean;

/** A part of the work for a call, as traces show it. */
export interface Span {
  /** Begins a part of this part: `client` for a call to somebody else. */
  child(name: string, kind: "client" | "internal", attributes?: Readonly<Record<string, SpanValue>>): Span;
  set(name: string, value: SpanValue): void;
  /** W3C `traceparent` and `tracestate` for whoever is called within this part; empty while tracing is off. */
  readonly headers: Readonly<Record<string, string>>;
  /** Absent while tracing is off. */
  readonly traceId: string | undefined;
  end(outcome: "ok" | Code, error?: unknown): void;
}

/** The span of everything while tracing is off: it costs nothing. */
export const noSpan: Span = Object.freeze<Span>({
  child: () => noSpan,
  set() {},
  headers: Object.freeze({}),
  traceId: undefined,
  end() {},
});
