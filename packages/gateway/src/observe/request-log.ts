import { Code } from "@connectrpc/connect";
import type { Logger } from "pino";
import type { CallRecord } from "./call-record.ts";
import { codeName } from "./codes.ts";
import { describeError } from "./describe-error.ts";
import { isLogged } from "./log-sampling.ts";

/** How the answer itself went: what only the socket knows. */
export interface AnswerFacts {
  /** The HTTP status that was sent. */
  readonly status: number;
  /** Whether the caller got the whole answer. */
  readonly complete: boolean;
}

/**
 * Writes one line for each request, when its answer is over; of the requests that succeeded in good time, for a part.
 *
 * The fields are listed here one by one, so that nothing gets into the log by accident. A failure of the gateway
 * or of an upstream is an `error` or a `warn` with its cause; whatever the caller did wrong is an `info`.
 *
 * @param sampleRatio the part of the requests without a fault that is logged, from 0 to 1. Default: all
 */
export function createRequestLog(
  log: Logger,
  sampleRatio = 1,
): (record: CallRecord, answer: AnswerFacts) => void {
  // Not described among the fields: pino would describe the description.
  const requests = log.child({}, { serializers: { err: describeError } });
  return (record, answer) => {
    const durationMs = performance.now() - record.startedAt;
    if (!isLogged(record, answer, durationMs, sampleRatio)) return;
    requests[levelOf(record, answer)](fieldsOf(record, answer, durationMs), "request");
  };
}

function fieldsOf(record: CallRecord, answer: AnswerFacts, durationMs: number) {
  return {
    requestId: record.requestId,
    traceId: record.span.traceId,
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
    durationMs: round(durationMs),
    requestBytes: record.requestBytes,
    responseBytes: record.responseBytes,
    upstreamCalls: record.upstreamCalls.map((call) => ({
      call: call.call,
      code: codeName(call.outcome),
      durationMs: round(call.durationMs),
      // What is as it should be is left out.
      attempts: call.attempts === 1 ? undefined : call.attempts,
      hedged: call.hedged || undefined,
    })),
    batches:
      record.batches.length === 0
        ? undefined
        : record.batches.map((batch) => ({
            loader: batch.loader,
            keys: batch.keys,
            code: codeName(batch.outcome),
            durationMs: round(batch.durationMs),
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

function round(milliseconds: number): number {
  return Math.round(milliseconds * 100) / 100;
}
