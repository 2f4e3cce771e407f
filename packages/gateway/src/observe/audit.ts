import type { Logger } from "pino";
import type { PublicError } from "../errors.ts";
import type { Reason } from "../reasons.ts";
import type { CallRecord } from "./call-record.ts";

/** Who an audit record is about: what is known of a caller, without its credentials. */
export interface Who {
  /** How the caller was recognised. */
  readonly kind: string;
  readonly subject?: string;
  readonly issuer?: string;
  readonly tenant?: string | undefined;
}

/** Writes down who was refused what, and who was let in to change something. */
export interface Audit {
  /** A call ended in an error: noted if it was a decision about the caller. */
  readonly refused: (record: CallRecord, who: Who | undefined, error: PublicError) => void;
  /** A call that may change something is let in. How it ended is in the request log, under the same request id. */
  readonly allowed: (record: CallRecord, who: Who) => void;
}

/** The reasons that are decisions about a caller, rather than about what it sent. */
const decisions: ReadonlySet<Reason> = new Set<Reason>([
  "CREDENTIALS_MISSING",
  "CREDENTIALS_INVALID",
  "CREDENTIALS_EXPIRED",
  "PERMISSION_MISSING",
  "CONDITION_NOT_MET",
  "FIELD_NOT_ALLOWED",
  "RIGHTS_CHANGED",
  "RATE_LIMIT_EXCEEDED",
  "METHOD_UNKNOWN",
]);

/**
 * Creates the audit log: one line, with `"audit"` in it, for each decision that refuses and for each mutation that is
 * allowed. It is written whatever the log level is, unless the log is silent. The fields are listed one by one, so that
 * no secret gets into it by accident.
 */
export function createAudit(log: Logger): Audit {
  const lines = log.child({}, { level: log.level === "silent" ? "silent" : "info" });
  const write = (record: CallRecord, who: Who | undefined, rest: Readonly<Record<string, unknown>>): void =>
    lines.info(
      {
        ...rest,
        requestId: record.requestId,
        rpc: record.rpc,
        address: record.address,
        who: who && { kind: who.kind, subject: who.subject, issuer: who.issuer, tenant: who.tenant },
      },
      "audit",
    );
  return {
    refused: (record, who, { reason, cause, rawMessage }) => {
      if (!decisions.has(reason)) return;
      // The internal explanation, such as the permission that is missing, where there is one.
      const why = cause instanceof Error ? cause.message : rawMessage;
      write(record, who, { audit: "refused", reason, why: why.slice(0, 200) });
    },
    allowed: (record, who) => write(record, who, { audit: "allowed" }),
  };
}
