import type { CallRecord } from "./call-record.ts";
import type { AnswerFacts } from "./request-log.ts";

/** From how long on a request is logged in any case, in milliseconds. */
const slowMs = 1_000;

/**
 * Whether a request is logged: always if it failed, lacked something, was slow or was not heard to its end. Of the others,
 * a part: by the trace if there is one, or else by the request id, so that all replicas and all runs decide alike.
 *
 * @param ratio from 0 for none of the others to 1 for all
 */
export function isLogged(
  record: CallRecord,
  answer: AnswerFacts,
  durationMs: number,
  ratio: number,
): boolean {
  if (ratio >= 1 || durationMs >= slowMs || !answer.complete || answer.status >= 400) return true;
  if ((record.outcome !== undefined && record.outcome !== "ok") || record.partial !== undefined) return true;
  if (record.error !== undefined) return true;
  return fractionOf(record.span.traceId ?? record.requestId) < ratio;
}

/** FNV-1a, as a fraction from 0 to less than 1: equal ids have equal ones, and ids that differ are spread evenly. */
function fractionOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < id.length; index++) hash = Math.imul(hash ^ id.charCodeAt(index), 0x01000193);
  // FNV's last bytes hardly reach the upper bits, which decide here.
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}
