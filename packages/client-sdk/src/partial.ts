import type { Message } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";
import { decodeBinaryHeader } from "@connectrpc/connect";
import type { ErrorCode } from "./errors.ts";
import { PartialResultSchema, type MissingPart as Sent } from "./gen/portico/api/v1/partial_result_pb.ts";

/** Fields that an answer was to have and has not, all for the same reason. */
export interface MissingPart {
  /**
   * Which fields, with their names as in the API's proto files: `order.user_email`. Those of many messages are one path:
   * `orders[0-2,5].user_email`. In a stream, it begins with the number of the message, from 0: `[17].order.user_email`.
   * With an index `*`, not all of them are named.
   */
  readonly path: string;
  /** How many fields. */
  readonly count: number;
  /** The code that a call would have failed with. */
  readonly code: ErrorCode;
  /** Why, for programs: one of the API's reasons, such as `SERVICE_UNAVAILABLE`. */
  readonly reason: string;
  /** Why, for people. */
  readonly message: string;
  /** Whether the same call may bring the fields later. */
  readonly retryable: boolean;
  /** How many milliseconds the server asks to wait before that; absent if it does not say. */
  readonly retryDelayMs?: number;
}

/**
 * Tells what an answer lacks because the server could not get it, while the call itself succeeded. Empty for an answer
 * that is whole.
 *
 * @param response what a call answered: the message itself, not a part or a copy of it. Of a stream, what the method
 * returned, once the loop over it has ended: the server tells it last, and says nothing if you leave the loop.
 * @example
 * const page = await api.orders.listOrdersWithUser({});
 * for (const { path, message } of partial(page)) warn(`${path}: ${message}`);
 */
export function partial(response: Message | AsyncIterable<Message>): readonly MissingPart[] {
  return known.get(response) ?? [];
}

/** What was told of each answer. */
const known = new WeakMap<Message | AsyncIterable<Message>, readonly MissingPart[]>();

/** Remembers what the headers, or the trailers, of an answer say that it lacks. */
export function notePartial(response: Message | AsyncIterable<Message>, metadata: Headers): void {
  const value = metadata.get("portico-partial-bin");
  if (value === null) known.delete(response);
  else known.set(response, decode(value));
}

/** The answer is there and may be of use, so what cannot be read about it is no error of the call. */
function decode(value: string): readonly MissingPart[] {
  try {
    return decodeBinaryHeader(value, PartialResultSchema).missing.map(missingPart);
  } catch {
    const message = "What is missing cannot be read.";
    return [{ path: "*", count: 1, code: "data_loss", reason: "", message, retryable: false }];
  }
}

function missingPart({ path, count, code, reason, message, retryable, retryDelay }: Sent): MissingPart {
  const part = { path, count, code: code as ErrorCode, reason, message, retryable };
  return retryDelay === undefined ? part : { ...part, retryDelayMs: durationMs(retryDelay) };
}
