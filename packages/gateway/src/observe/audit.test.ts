import { pino } from "pino";
import { describe, expect, test } from "vitest";
import { PublicError } from "../errors.ts";
import { authenticated } from "../testing/principals.ts";
import { createAudit } from "./audit.ts";
import { createCallRecord } from "./call-record.ts";

const record = {
  ...createCallRecord({ requestId: "request-1", httpMethod: "POST", path: "/", address: "10.0.0.1" }),
  rpc: "acme.Crates/Store",
};
const ada = { ...authenticated("ada", "admin"), tenant: "acme" };
const who = { kind: "token", subject: "ada", issuer: "https://id.example.com", tenant: "acme" };

function startAudit(level: string) {
  const lines: Record<string, unknown>[] = [];
  const log = pino(
    { level, base: null, timestamp: false },
    { write: (line) => void lines.push(JSON.parse(line)) },
  );
  return { audit: createAudit(log), lines };
}

describe("writes one record", () => {
  test("for a change that is allowed: who, what, and the call", () => {
    const { audit, lines } = startAudit("info");
    audit.allowed(record, ada);
    expect(lines).toEqual([
      {
        level: 30,
        msg: "audit",
        audit: "allowed",
        requestId: "request-1",
        rpc: "acme.Crates/Store",
        address: "10.0.0.1",
        who,
      },
    ]);
  });

  test("for a decision that refuses, with the reason and the internal explanation", () => {
    const { audit, lines } = startAudit("info");
    const cause = new Error("the caller does not have the permission crates.store");
    audit.refused(record, ada, new PublicError("PERMISSION_MISSING", undefined, { cause }));
    expect(lines).toEqual([
      expect.objectContaining({ audit: "refused", reason: "PERMISSION_MISSING", why: cause.message, who }),
    ]);
  });

  test("for a caller who could not be recognised", () => {
    const { audit, lines } = startAudit("info");
    audit.refused(record, undefined, new PublicError("CREDENTIALS_INVALID"));
    const [line] = lines;
    expect(line).toMatchObject({ reason: "CREDENTIALS_INVALID", why: "The credentials are not valid." });
    expect(line).not.toHaveProperty("who");
  });

  test("whatever the level of the log is, unless it is silent", () => {
    const [quiet, silent] = [startAudit("error"), startAudit("silent")];
    for (const { audit } of [quiet, silent]) audit.allowed(record, ada);
    expect([quiet.lines.length, silent.lines.length]).toEqual([1, 0]);
  });
});

test("what is no decision about the caller is no matter of the audit", () => {
  const { audit, lines } = startAudit("info");
  for (const reason of [
    "INVALID_FIELDS",
    "NOT_FOUND",
    "INTERNAL",
    "SERVICE_UNAVAILABLE",
    "CALLER_LEFT",
  ] as const)
    audit.refused(record, ada, new PublicError(reason));
  expect(lines).toEqual([]);
});

test("an explanation has bounds", () => {
  const { audit, lines } = startAudit("info");
  const cause = new Error("x".repeat(100_000));
  audit.refused(record, ada, new PublicError("CONDITION_NOT_MET", undefined, { cause }));
  expect(String(lines[0]?.["why"]).length).toBe(200);
});
