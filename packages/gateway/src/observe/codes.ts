import type { Code } from "@connectrpc/connect";
import { codeToString } from "@connectrpc/connect/protocol-connect";

/** How something ended, in the words of logs, metrics and traces: `ok`, or a code such as `not_found`. */
export function codeName(outcome: "ok" | Code): string {
  return outcome === "ok" ? outcome : codeToString(outcome);
}
