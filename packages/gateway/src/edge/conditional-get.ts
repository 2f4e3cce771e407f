import { createHash } from "node:crypto";
import { type DescMethod, type Message, toBinary } from "@bufbuild/protobuf";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import { fingerprint } from "../fingerprint.ts";
import type { CallRecord } from "../observe/call-record.ts";
import type { MethodEntry } from "../policy/method-table.ts";
import type { Exchange } from "./exchange.ts";

// A GET is answered so that the caller, and caches on the way, may keep the answer as far as its method's policy allows,
// and ask whether it still holds.

/** Names the content of an answer. */
export type TagOf = (method: DescMethod, message: Message, contentType: string) => string;

/**
 * Creates what makes entity tags (RFC 9110, 8.8.3). Two answers have the same tag only if they say the same in the same
 * format, by the same protos. It is a weak one, since compression changes the bytes on the wire, and not what they say.
 */
export function createTagOf(methods: Iterable<DescMethod>): TagOf {
  const version = fingerprint(Array.from(methods, ({ parent }) => parent.file));
  return (method, message, contentType) => {
    const hash = createHash("sha256").update(`${version} ${contentType} ${method.output.typeName}\n`);
    return `W/"${hash.update(toBinary(method.output, message)).digest("base64url").slice(0, 22)}"`;
  };
}

/** Tells the caller of a GET, and caches on the way, what they may keep of its answer. Of an error, nothing. */
export function sayWhatToKeep(
  entry: Got["entry"],
  { record, request, certificate, setHeader, headerOf }: Exchange,
  { status, header }: UniversalServerResponse,
): void {
  const isAnswer = status === 200;
  const control = cacheControl({
    entry,
    requestHeaders: request.header,
    hasCertificate: certificate !== undefined,
    lifetime: isAnswer ? record.lifetime : undefined,
  });
  setHeader("cache-control", control);
  if (control !== "no-store") setHeader("vary", varyWith(headerOf("vary")));
  // It was made before the answer turned out to be too large to send.
  if (!isAnswer) header?.delete("etag");
}

/** What decides about keeping the answer to a GET. */
export interface Got {
  readonly entry: Pick<MethodEntry, "access" | "cache" | "conditions">;
  readonly requestHeaders: Headers;
  /** Whether the caller's connection was made with a certificate. */
  readonly hasCertificate: boolean;
  /** Absent if the call failed, its method has no cache, or its answer is not whole. */
  readonly lifetime: CallRecord["lifetime"];
}

/**
 * What may be kept of the answer to a GET (RFC 9111), as a `cache-control`:
 *
 * - `public, max-age` for who shares it with everyone: callers without credentials, of a method that everyone may call;
 * - `private, no-cache` for all others: kept by the caller alone, and never used without asking, so that rights are
 *   checked each time;
 * - `no-store` where nothing may be kept, and for callers who are known by their connection, which no cache can tell.
 */
export function cacheControl({ entry, requestHeaders, hasCertificate, lifetime }: Got): string {
  const sendsCredentials = credentialHeaders.some((name) => requestHeaders.has(name));
  if (lifetime === undefined || (hasCertificate && !sendsCredentials)) return "no-store";
  if (sendsCredentials || !isForEveryone(entry)) return "private, no-cache";
  const [maxAge, stale] = [seconds(lifetime.freshMs), seconds(lifetime.staleMs)];
  return `public, max-age=${maxAge}${stale === 0 ? "" : `, stale-while-revalidate=${stale}`}`;
}

/**
 * What the answer to a GET depends on besides the URL, as a `vary`. Credentials are among it even if the answer is the
 * same for everyone: who sends some that are not valid is to be refused.
 *
 * @param before what it depends on already
 */
export function varyWith(before: string | undefined): string {
  const names = [...(before ?? "").split(","), "accept-encoding", ...credentialHeaders];
  const byName = new Map(names.map((name) => [name.trim().toLowerCase(), name.trim()]));
  byName.delete("");
  return [...byName.values()].join(", ");
}

/** The answer; or, if it has a tag that the caller named in `if-none-match`, that the caller has it already. */
export function unlessKnown(
  answer: UniversalServerResponse,
  ifNoneMatch: string | null,
): UniversalServerResponse {
  const tag = answer.header?.get("etag") ?? null;
  if (answer.status !== 200 || tag === null || ifNoneMatch === null) return answer;
  return isNamed(tag, ifNoneMatch) ? { status: 304, header: new Headers({ etag: tag }) } : answer;
}

const credentialHeaders = ["authorization", "x-api-key"];

/** A condition may hold now and not a moment later, without anyone who has the answer being asked. */
function isForEveryone({ access, cache, conditions }: Got["entry"]): boolean {
  return access.kind === "anonymous" && cache?.scope === "public" && conditions.length === 0;
}

/** Whole seconds, of which none is promised that there is not. */
function seconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1_000);
}

/** Compares weakly (RFC 9110, 8.8.3.2): whether the tags are weak does not matter. */
function isNamed(tag: string, ifNoneMatch: string): boolean {
  if (ifNoneMatch.trim() === "*") return true;
  const opaque = tag.replace(/^W\//, "");
  return [...ifNoneMatch.matchAll(/"[\x21\x23-\x7e\x80-\xff]*"/g)].some(([named]) => named === opaque);
}
