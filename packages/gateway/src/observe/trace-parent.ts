import type { IncomingHttpHeaders } from "node:http";

/** What a caller says about the trace that its call is part of. */
export interface TraceParent {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits: the part of the trace that the call was made in. */
  readonly spanId: string;
  /** Whether the caller records the trace. */
  readonly sampled: boolean;
  /** What other systems want to be told: handed on as it is. */
  readonly state: string | undefined;
}

/** The longest `tracestate` that is handed on, in characters: what W3C asks for. */
const maxStateLength = 512;

/**
 * Reads `traceparent` and `tracestate` as W3C Trace Context has them. A `traceparent` that is not valid counts as none, and
 * a `tracestate` without it, or that is too long, as well.
 */
export function readTraceParent(headers: IncomingHttpHeaders): TraceParent | undefined {
  const given = headers["traceparent"];
  if (typeof given !== "string" || given.length > maxStateLength) return undefined;
  const match = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/.exec(given);
  const [, version = "ff", traceId = "", spanId = "", flags = "00", rest] = match ?? [];
  // Later versions may say more; of them, what this version has is read.
  if (version === "ff" || (version === "00" && rest !== undefined)) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return {
    traceId,
    spanId,
    sampled: (Number.parseInt(flags, 16) & 1) === 1,
    state: readState(headers["tracestate"]),
  };
}

function readState(given: string | string[] | undefined): string | undefined {
  const text = Array.isArray(given) ? given.join(",") : given;
  return text !== undefined && text.length <= maxStateLength && /^[\x20-\x7e]+$/.test(text)
    ? text
    : undefined;
}

/** The headers that hand a trace on. */
export function traceHeaders(
  traceId: string,
  spanId: string,
  sampled: boolean,
  state: string | undefined,
): Readonly<Record<string, string>> {
  return {
    traceparent: `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`,
    ...(state !== undefined && { tracestate: state }),
  };
}
