import { Code } from "@connectrpc/connect";
import { type Logger, stdSerializers } from "pino";
import type { CallRecord } from "./call-record.ts";

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
    code: record.outcome === undefined ? undefined : codeName(record.outcome),
    durationMs: round(performance.now() - record.startedAt),
    upstreamCalls: record.upstreamCalls.map((call) => ({
      call: call.call,
      code: codeName(call.outcome),
      durationMs: round(call.durationMs),
    })),
    err: record.error,
  };
}

/** An error with its causes. The words of upstreams are in it, and they may have the emails of users in them. */
function describeError(error: unknown): Readonly<Record<string, string>> {
  if (!(error instanceof Error)) return { message: withoutEmails(String(error)) };
  const { type, message, stack } = stdSerializers.err(error);
  return { type, message: withoutEmails(message), stack: withoutEmails(stack) };
}

/** With bounds, so that a long text without any takes no longer than its length. */
function withoutEmails(text: string): string {
  return text.replace(/[\w.%+-]{1,64}@(?:[a-z0-9-]+\.)+[a-z]{2,}/gi, "(email)");
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

/** `Code.NotFound` is `not_found`, as on the wire. */
function codeName(outcome: "ok" | Code): string {
  if (outcome === "ok") return outcome;
  return Code[outcome].replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}

function round(milliseconds: number): number {
  return Math.round(milliseconds * 100) / 100;
}
