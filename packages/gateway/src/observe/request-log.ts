import { Code } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";
import type { Logger } from "pino";
import type { CallRecord } from "./call-record.ts";
import { describeError } from "./describe-error.ts";

/** How the answer itself went: what only the socket knows. */
export interface AnswerFacts {
  /** The HTTP status that was sent. */
  readonly status: number;
  /** Whether the caller got the whole answer. */
  readonly complete: boolean;
}

/**
 * Writes one line for each request, when its answer is over.
 *
 * The fields are listed here one by one, so that nothing gets into the log by accident. A failure of the gateway
 * or of an upstream is an `error` or a `warn` with its cause; whatever the caller did wrong is an `info`.
 */
export function createRequestLog(log: Logger): (record: CallRecord, answer: AnswerFacts) => void {
  // Not described among the fields: pino would describe the description.
  const requests = log.child({}, { serializers: { err: describeError } });
  return (record, answer) => requests[levelOf(record, answer)](fieldsOf(record, answer), "request");
}

function fieldsOf(record: CallRecord, answer: AnswerFacts) {
  return {
    requestId: record.requestId,
    method: record.httpMethod,
    path: record.path,
    status: answer.status,
    complete: answer.complete,
    protocol: record.protocol,
    rpc: record.rpc,
    caller: record.caller,
    answer: record.answer,
    code: record.outcome === undefined ? undefined : codeName(record.outcome),
    reason: record.reason,
    partial: record.partial?.count,
    durationMs: round(performance.now() - record.startedAt),
    upstreamCalls: record.upstreamCalls.map((call) => ({
      call: call.call,
      code: codeName(call.outcome),
      durationMs: round(call.durationMs),
    })),
    err: record.error === undefined ? record.partial?.cause : record.error,
  };
}

function levelOf(record: CallRecord, answer: AnswerFacts): "info" | "warn" | "error" {
  switch (record.outcome) {
    case Code.Internal:
    case Code.Unknown:
    case Code.DataLoss:
      return "error";
    case Code.Unavailable:
    case Code.DeadlineExceeded:
      return "warn";
    default:
      return answer.status >= 500 && record.outcome === undefined ? "error" : "info";
  }
}

function codeName(outcome: "ok" | Code): string {
  return outcome === "ok" ? outcome : codeToString(outcome);
}

function round(milliseconds: number): number {
  return Math.round(milliseconds * 100) / 100;
}
