import { encodeBinaryHeader } from "@connectrpc/connect";
import type { Call } from "../call.ts";
import { PartialResultSchema } from "../gen/portico/api/v1/partial_result_pb.ts";

/** The metadata that says what an answer lacks: a `portico.api.v1.PartialResult`. */
export const partialHeader = "portico-partial-bin";

/** Puts what the answer of a call lacks into its headers or trailers; nothing, if it is whole. */
export function tellMissing({ missing }: Pick<Call, "missing">, metadata: Headers): void {
  const partial = missing.result();
  if (partial !== undefined) metadata.set(partialHeader, encodeBinaryHeader(partial, PartialResultSchema));
}
