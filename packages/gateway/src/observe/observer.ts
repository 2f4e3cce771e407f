import type { IncomingHttpHeaders } from "node:http";
import type { Logger } from "pino";
import type { CallRecord, Watch } from "./call-record.ts";
import type { Metrics } from "./metrics.ts";
import { type AnswerFacts, createRequestLog } from "./request-log.ts";
import { noSpan } from "./span.ts";
import type { Tracing } from "./tracing.ts";

/** Watches the requests of the public port. */
export interface Observer {
  /** A request has come. Every one that begins must end. */
  readonly began: (headers: IncomingHttpHeaders) => Watch;
  /** Its answer is over. */
  readonly ended: (record: CallRecord, answer: AnswerFacts) => void;
}

/** What requests are watched by. */
export interface ObserverParts {
  readonly log: Logger;
  /** The part of the successful requests that is logged, from 0 to 1. */
  readonly logSampleRatio: number;
  readonly metrics: Metrics;
  /** Absent while tracing is off. */
  readonly tracing: Tracing | undefined;
}

/** Makes one observer of the log, the metrics and the traces. */
export function createObserver({ log, logSampleRatio, metrics, tracing }: ObserverParts): Observer {
  const writeLog = createRequestLog(log, logSampleRatio);
  return {
    began: (headers) => {
      metrics.began();
      return { span: tracing?.start(headers) ?? noSpan, observer: metrics.observer };
    },
    ended: (record, answer) => {
      metrics.ended(record, answer);
      tracing?.ended(record, answer);
      writeLog(record, answer);
    },
  };
}
