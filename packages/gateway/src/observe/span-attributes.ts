import { Code } from "@connectrpc/connect";
import { PublicError } from "../errors.ts";
import type { CallRecord } from "./call-record.ts";
import { codeName } from "./codes.ts";
import type { AnswerFacts } from "./request-log.ts";
import type { Span, SpanValue } from "./span.ts";

/** What kind of part a span stands for. */
export type SpanKindName = Parameters<Span["child"]>[1];

/** What the span of a request says. */
export interface RequestDescription {
  readonly name: string;
  readonly attributes: Readonly<Record<string, SpanValue>>;
  /** Whether the gateway, or something behind it, failed: what the caller did wrong is no failure. */
  readonly failed: boolean;
}

/** The codes that OpenTelemetry counts as failures of a server. */
const serverFaults: ReadonlySet<Code> = new Set([
  Code.Unknown,
  Code.DeadlineExceeded,
  Code.Unimplemented,
  Code.Internal,
  Code.Unavailable,
  Code.DataLoss,
]);

/** The HTTP methods that are named; a stranger may invent others. */
const httpMethods: ReadonlySet<string> = new Set([
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "OPTIONS",
  "PATCH",
  "CONNECT",
  "TRACE",
]);

/**
 * What the span of a request says, by OpenTelemetry's conventions for RPCs. The attributes are listed one by one, as those
 * of the log are. Less gets out than into the log: neither who called, nor from where, nor the path, which may be anything,
 * nor the words of errors.
 */
export function describeRequest(record: CallRecord, answer: AnswerFacts): RequestDescription {
  const { outcome, rpc, reason, partial, caller } = record;
  const [service = "", method = ""] = rpc?.split("/") ?? [];
  const httpMethod = httpMethods.has(record.httpMethod) ? record.httpMethod : "_OTHER";
  const failed = outcome === undefined ? answer.status >= 500 : outcome !== "ok" && serverFaults.has(outcome);
  return {
    name: rpc ?? httpMethod,
    attributes: {
      "http.request.method": httpMethod,
      "http.response.status_code": answer.status,
      "http.request.body.size": record.requestBytes,
      "http.response.body.size": record.responseBytes,
      "portico.request_id": record.requestId,
      ...(rpc !== undefined && { "rpc.service": service, "rpc.method": method }),
      ...(rpc !== undefined && endOf(record)),
      ...(caller !== undefined && { "portico.caller": caller === "anonymous" ? "anonymous" : "known" }),
      ...(record.answer !== undefined && { "portico.answer": record.answer }),
      ...(reason !== undefined && { "portico.reason": reason }),
      ...(partial !== undefined && { "portico.missing": partial.count }),
      ...(!answer.complete && { "portico.complete": false }),
      ...(failed && { "error.type": outcome === undefined ? String(answer.status) : codeName(outcome) }),
    },
    failed,
  };
}

/** gRPC numbers how a call ended, 0 included; Connect names it, unless all is well. */
function endOf({ protocol, outcome }: CallRecord): Readonly<Record<string, SpanValue>> {
  if (protocol === undefined || protocol === "connect") {
    const failed = outcome !== undefined && outcome !== "ok";
    return {
      "rpc.system": "connect_rpc",
      ...(failed && { "rpc.connect_rpc.error_code": codeName(outcome) }),
    };
  }
  return {
    "rpc.system": "grpc",
    ...(outcome !== undefined && { "rpc.grpc.status_code": outcome === "ok" ? 0 : outcome }),
  };
}

/** What a part of a request says when it failed; `undefined` if it did not. Of the error, only what the gateway chose. */
export function failureOf(
  outcome: "ok" | Code,
  error: unknown,
): Readonly<Record<string, SpanValue>> | undefined {
  if (outcome === "ok") return undefined;
  return {
    "error.type": codeName(outcome),
    ...(error instanceof PublicError && { "portico.reason": error.reason }),
  };
}
