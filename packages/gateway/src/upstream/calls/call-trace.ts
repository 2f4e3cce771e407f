import type { DescMethod } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import { PublicError } from "../../errors.ts";
import { recordUpstreamCall } from "../../observe/call-record.ts";
import type { CallProgress } from "./attempts.ts";

/** What logs, metrics and traces call a method of an upstream. */
export interface CallNames {
  /** `warehouse.getCrate`. */
  readonly call: string;
  /** `package.Service/Method`. */
  readonly span: string;
  /** OpenTelemetry's conventions for RPCs, and the name of the upstream. */
  readonly attributes: Readonly<Record<string, string>>;
}

/** One call to an upstream, as it is observed. */
export interface CallTrace {
  /** What becomes of it. */
  readonly progress: CallProgress;
  /** The headers that make the upstream's own spans part of the trace. */
  readonly headers: Readonly<Record<string, string>>;
  /** Notes how it ended, and gives back the error that it was given. */
  end<T extends "ok" | PublicError>(end: T): T;
}

export function callNames(upstream: string, method: DescMethod): CallNames {
  const service = method.parent.typeName;
  return {
    call: `${upstream}.${method.localName}`,
    span: `${service}/${method.name}`,
    attributes: {
      "rpc.system": "grpc",
      "rpc.service": service,
      "rpc.method": method.name,
      "portico.upstream": upstream,
    },
  };
}

/** Starts to observe a call. */
export function startCallTrace({ call, span: name, attributes }: CallNames, { record }: Call): CallTrace {
  const startedAt = performance.now();
  const span = record.span.child(name, "client", attributes);
  const progress: CallProgress = { attempts: 0, hedged: false };
  return {
    progress,
    headers: span.headers,
    end: (end) => {
      const outcome = end instanceof PublicError ? end.code : "ok";
      recordUpstreamCall(record, { call, durationMs: performance.now() - startedAt, outcome, ...progress });
      span.set("portico.attempts", progress.attempts);
      if (progress.hedged) span.set("portico.hedged", true);
      span.end(outcome, end instanceof PublicError ? (end.cause ?? end) : undefined);
      return end;
    },
  };
}
