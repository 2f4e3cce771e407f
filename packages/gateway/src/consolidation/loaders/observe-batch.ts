import { Code } from "@connectrpc/connect";
import type { Call } from "../../call.ts";
import { PublicError } from "../../errors.ts";
import { recordBatch } from "../../observe/call-record.ts";
import { noSpan } from "../../observe/span.ts";
import type { Found } from "./fetch.ts";

/** Runs a batch of a loader, and notes how long it took and how it ended. What it calls is a part of it in traces. */
export async function observeBatch(
  loader: string,
  keys: number,
  call: Call,
  run: (call: Call) => Promise<readonly Found[]>,
): Promise<readonly Found[]> {
  const startedAt = performance.now();
  const span = call.record.span.child(`loader ${loader}`, "internal", {
    "portico.loader": loader,
    "portico.keys": keys,
  });
  const ended = (outcome: "ok" | Code, error?: PublicError): void => {
    span.end(outcome, error);
    recordBatch(call.record, { loader, keys, durationMs: performance.now() - startedAt, outcome });
  };
  try {
    const found = await run(within(span, call));
    const failed = found.find((it) => it instanceof PublicError);
    ended(failed?.code ?? "ok", failed);
    return found;
  } catch (error) {
    const known = error instanceof PublicError ? error : undefined;
    ended(known?.code ?? Code.Internal, known);
    throw error;
  }
}

/** The same call, whose upstream calls are parts of the span. They are noted in the same lists. */
function within(span: Call["record"]["span"], call: Call): Call {
  return span === noSpan ? call : { ...call, record: { ...call.record, span } };
}
