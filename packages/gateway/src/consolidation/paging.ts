import { createHash } from "node:crypto";
import type { DescMessage, Message, MessageShape } from "@bufbuild/protobuf";
import { canonicalBytes } from "../canonical-bytes.ts";
import { invalid } from "../errors.ts";

/** A request with the fields of AIP-158. */
type PagedRequest = Message & { pageSize: number; pageToken: string };

/** How many entries a page has. */
export interface PagingOptions {
  /** For a request that does not say: a page size of 0. */
  readonly defaultSize: number;
  /** The most; a request for more gets this many. */
  readonly maxSize: number;
}

/** The page that a request asks for, in the upstream's terms. */
export interface Page {
  readonly pageSize: number;
  /** The upstream's own token; empty for the first page. */
  readonly pageToken: string;
  /** Wraps the upstream's token for the next page into one for the public; empty stays empty. */
  readonly next: (upstreamToken: string) => string;
}

/**
 * Declares how a method is paged (AIP-158). A public token wraps the upstream's, with a checksum over the other
 * fields of the request: a token that was cut, made up, or taken to another listing is refused by name, and never
 * reaches an upstream.
 *
 * The checksum guards against mistakes, not against attacks: a token is no secret and grants nothing.
 *
 * Errors: `invalid_argument` for a negative `page_size` and for a `page_token` that is not from the same listing.
 *
 * @example
 * const pageOf = paging(ListUsersRequestSchema, { defaultSize: 50, maxSize: 500 });
 * const page = pageOf(request);
 * const { users, nextPageToken } = await upstream.listUsers(page, call);
 * return { users, nextPageToken: page.next(nextPageToken) };
 */
export function paging<D extends DescMessage>(
  desc: D,
  { defaultSize, maxSize }: PagingOptions,
): (request: MessageShape<D> & PagedRequest) => Page {
  return (request) => {
    const { pageSize, pageToken } = request;
    if (pageSize < 0)
      throw invalid({ field: "page_size", description: `must not be negative, got ${pageSize}` });
    const listing = fingerprint(desc, request);
    return {
      pageSize: Math.min(pageSize || defaultSize, maxSize),
      pageToken: pageToken === "" ? "" : unwrap(pageToken, listing),
      next: (upstreamToken) => (upstreamToken === "" ? "" : wrap(upstreamToken, listing)),
    };
  };
}

const checksumBytes = 8;

function wrap(upstreamToken: string, listing: Buffer): string {
  const token = Buffer.from(upstreamToken);
  return Buffer.concat([checksum(token, listing), token]).toString("base64url");
}

function unwrap(pageToken: string, listing: Buffer): string {
  const bytes = Buffer.from(pageToken, "base64url");
  const token = bytes.subarray(checksumBytes);
  // Node skips what is not base64url, so the way back shows whether all of it was.
  const whole =
    bytes.toString("base64url") === pageToken &&
    checksum(token, listing).equals(bytes.subarray(0, checksumBytes));
  if (token.length > 0 && whole) return token.toString();
  throw invalid({
    field: "page_token",
    description: "is not a next_page_token of this listing with these filters",
  });
}

function checksum(token: Buffer, listing: Buffer): Buffer {
  return createHash("sha256").update(listing).update(token).digest().subarray(0, checksumBytes);
}

/** What makes a listing the same: the type of the request, and all of its fields but those of paging. */
function fingerprint<D extends DescMessage>(desc: D, request: MessageShape<D> & PagedRequest): Buffer {
  const others: Message & Partial<PagedRequest> = { ...request, pageSize: 0, pageToken: "" };
  const filters = canonicalBytes(desc, others);
  return createHash("sha256").update(desc.typeName).update("\0").update(filters).digest();
}
