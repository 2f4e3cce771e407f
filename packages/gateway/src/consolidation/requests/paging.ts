import { createHash } from "node:crypto";
import type { DescMessage, Message } from "@bufbuild/protobuf";
import { canonicalBytes } from "../../canonical-bytes.ts";
import { invalid } from "../../errors.ts";

/** A request with the fields of AIP-158. */
export type PagedRequest = Message & { pageSize: number; pageToken: string };

/** How many entries a page has, and what the upstream calls that. */
export interface PagingOptions<Field extends string = string> {
  /** For a request that does not say: a page size of 0. */
  readonly defaultSize: number;
  /** The most; a request for more gets this many. */
  readonly maxSize: number;
  /** The field of the internal request that takes the size. Default: `pageSize`. */
  readonly sizeField?: Field;
  /** The field of the internal request that takes the upstream's token. Default: `pageToken`. */
  readonly tokenField?: Field;
}

/** The page that a request asks for, in the upstream's terms. */
export interface Page {
  readonly pageSize: number;
  /** The upstream's own token; empty for the first page. */
  readonly pageToken: string;
  /** Wraps the upstream's token for the next page into one for the public; empty stays empty. */
  readonly next: (upstreamToken: string) => string;
}

/** Reads the page that a request asks for, and checks its token. */
export function createPaging(
  desc: DescMessage,
  { defaultSize, maxSize }: PagingOptions,
): (request: PagedRequest) => Page {
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
function fingerprint(desc: DescMessage, request: PagedRequest): Buffer {
  const others: Message & Partial<PagedRequest> = { ...request, pageSize: 0, pageToken: "" };
  const filters = canonicalBytes(desc, others);
  return createHash("sha256").update(desc.typeName).update("\0").update(filters).digest();
}
