import { Code, ConnectError } from "@connectrpc/connect";

/** The paging fields that every list request has. */
interface PageRequest {
  pageSize: number;
  pageToken: string;
}

/** How a list is paged. */
interface PageRules {
  /** What is listed; a token of one kind is not taken for another. */
  kind: string;
  /** The most rows on a page; who asks for more gets this many. */
  most: number;
}

/** What a request asks for. */
interface PagePosition {
  /** How many rows at most. */
  size: number;
  /** The index of the last row of the page before; undefined for the first page. */
  last: number | undefined;
}

/** A page of row indices. */
export interface Page {
  indices: number[];
  /** Empty on the last page. */
  nextPageToken: string;
}

/**
 * Reads the paging fields. A token names the last row that was given, not a distance from the start, so rows that
 * are added meanwhile do not shift the pages.
 *
 * Errors: INVALID_ARGUMENT for a negative size and for a token that this list did not give.
 */
export function readPage(request: PageRequest, { kind, most }: PageRules, rows: number): PagePosition {
  if (request.pageSize < 0) {
    throw new ConnectError(`page_size must not be negative, got ${request.pageSize}`, Code.InvalidArgument);
  }
  const size = Math.min(request.pageSize || defaultPageSize, most);
  if (request.pageToken === "") return { size, last: undefined };
  const last = decodeToken(kind, request.pageToken);
  if (last === undefined || last >= rows) {
    throw new ConnectError("page_token is not one that this list gave", Code.InvalidArgument);
  }
  return { size, last };
}

/** Takes one page from the indices that follow, and looks one further to know whether there is a next page. */
export function takePage(candidates: Iterable<number>, kind: string, size: number): Page {
  const indices: number[] = [];
  for (const index of candidates) {
    const last = indices.at(-1);
    if (indices.length === size && last !== undefined)
      return { indices, nextPageToken: encodeToken(kind, last) };
    indices.push(index);
  }
  return { indices, nextPageToken: "" };
}

const defaultPageSize = 100;

function encodeToken(kind: string, last: number): string {
  return Buffer.from(`${kind}:${last}`).toString("base64url");
}

function decodeToken(kind: string, token: string): number | undefined {
  const [tokenKind, digits = ""] = Buffer.from(token, "base64url").toString().split(":");
  if (tokenKind !== kind || !/^\d{1,9}$/.test(digits)) return undefined;
  // Base64 decoders skip what they do not know; only what encodes to the same text was given by this list.
  return encodeToken(kind, Number(digits)) === token ? Number(digits) : undefined;
}
