import type { Message } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import type { Call } from "../../call.ts";
import { internalError, PublicError } from "../../errors.ts";

/** A method of an upstream whose types do not matter here. */
export type AnyMethod = (request: never, call: Call) => Promise<Message>;

/** A method that answers with entities, page by page. */
export interface Listing {
  /** What is called, for errors: `users.listUsers`. */
  readonly name: string;
  readonly method: AnyMethod;
  /** The entities in an answer. */
  readonly items: (response: Message) => readonly Message[];
  /** The token of the next page; empty on the last one. */
  readonly nextPageToken: (response: Message) => string;
}

/** An upstream whose pages have no end must not hold the call, and fill the memory, until its deadline. */
const maxPages = 100;

/**
 * The entities of all pages. An error on one of them fails all: half an answer would look whole.
 *
 * @param request what the upstream is asked for a page
 */
export async function allPages(
  { name, method, items, nextPageToken }: Listing,
  request: (pageToken: string) => unknown,
  call: Call,
): Promise<Message[]> {
  const all: Message[] = [];
  let pages = 0;
  let pageToken = "";
  do {
    // The compiler checked the request where the loader was declared.
    const response = await method(request(pageToken) as never, call);
    for (const item of items(response)) all.push(item);
    pageToken = nextPageToken(response);
    if (++pages === maxPages && pageToken !== "") throw new Error(`${name} gave more than ${maxPages} pages`);
  } while (pageToken !== "");
  return all;
}

/**
 * What a fetch ended in: its value, or the error as it may be shown. Rejects only if the call itself is over.
 *
 * @example const users = await settled(call, () => allPages(listing, request, call));
 */
export async function settled<T>(call: Call, fetch: () => Promise<T>): Promise<T | PublicError> {
  // Those who waited for their turn when the call ended have none.
  call.signal.throwIfAborted();
  try {
    return await fetch();
  } catch (error) {
    call.signal.throwIfAborted();
    if (!(error instanceof PublicError)) return internalError(error);
    if (error.reason === "DEADLINE_EXCEEDED") throw error;
    // The request was written here, not by the caller: if it is refused, that is nothing the caller could mend.
    return callersFaults.has(error.code) ? internalError(error) : error;
  }
}

const callersFaults: ReadonlySet<Code> = new Set([
  Code.InvalidArgument,
  Code.NotFound,
  Code.AlreadyExists,
  Code.FailedPrecondition,
  Code.OutOfRange,
]);
