import { isDeepStrictEqual } from "node:util";
import {
  createRegistry,
  type DescMessage,
  fromBinary,
  type JsonValue,
  type MessageShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import {
  BadRequestSchema,
  ErrorInfoSchema,
  RequestInfoSchema,
  RetryInfoSchema,
} from "../packages/gateway/src/gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../packages/gateway/src/gen/google/rpc/status_pb.ts";

/** The only details that an error may have. */
const types = createRegistry(ErrorInfoSchema, RequestInfoSchema, BadRequestSchema, RetryInfoSchema);

/**
 * Writes the details of errors in clear where a text has them in base64, so that a search finds what is in them:
 * `"opened": [{ "@type": ..., "reason": ... }]`. What is not exactly one of the four types that are allowed, with all of
 * its bytes accounted for, stays as it came: under `"details"` in JSON, under `-bin:` in gRPC.
 */
export function openDetails(text: string): string {
  return openJson(text).replaceAll(/grpc-status-details-bin: *([^\r\n]*)/gi, (asItCame, base64: string) => {
    const details = detailsOfStatus(base64);
    return details === undefined ? asItCame : opened(details);
  });
}

/** The details that `openDetails` found in a text. */
export function detailsIn(text: string): readonly Readonly<Record<string, JsonValue>>[] {
  return text
    .split('"opened": ')
    .slice(1)
    .flatMap((rest) => JSON.parse(rest.slice(0, rest.indexOf("\u0000"))));
}

function opened(details: readonly JsonValue[]): string {
  return `"opened": ${JSON.stringify(details)}\u0000`;
}

function openJson(text: string): string {
  const key = '"details":';
  const [head = "", ...parts] = text.split(key);
  const rest = parts.map((part) => {
    const { array, after } = beginningArray(part);
    const details = array?.map(detailOfJson);
    return details?.every((detail) => detail !== undefined) ? `${opened(details)}${after}` : `${key}${part}`;
  });
  return [head, ...rest].join("");
}

/** The array of JSON that a text begins with, and what comes after it. */
function beginningArray(text: string): { array?: unknown[]; after: string } {
  for (let end = text.indexOf("]"); end >= 0; end = text.indexOf("]", end + 1)) {
    try {
      const array: unknown = JSON.parse(text.slice(0, end + 1));
      return Array.isArray(array) ? { array, after: text.slice(end + 1) } : { after: text };
    } catch {
      // The bracket belongs to an array inside.
    }
  }
  return { after: text };
}

/** What Connect says of a detail for people, under `debug`, must be the same. */
function detailOfJson(detail: unknown): JsonValue | undefined {
  if (typeof detail !== "object" || detail === null) return undefined;
  const { type, value, debug, ...others }: Record<string, unknown> = { ...detail };
  if (typeof type !== "string" || typeof value !== "string" || Object.keys(others).length > 0)
    return undefined;
  const decoded = decode(type, Buffer.from(value, "base64"));
  const { "@type": _, ...facts } = decoded ?? {};
  return debug === undefined || isDeepStrictEqual(debug, facts) ? decoded : undefined;
}

function detailsOfStatus(base64: string): JsonValue[] | undefined {
  const status = exactly(StatusSchema, Buffer.from(base64, "base64"));
  if (status === undefined) return undefined;
  const { code, message } = status;
  const details = status.details.map(({ typeUrl, value }) =>
    typeUrl.startsWith(urlPrefix) ? decode(typeUrl.slice(urlPrefix.length), value) : undefined,
  );
  return details.every((detail) => detail !== undefined) ? [{ code, message }, ...details] : undefined;
}

const urlPrefix = "type.googleapis.com/";

function decode(type: string, bytes: Uint8Array): Readonly<Record<string, JsonValue>> | undefined {
  const desc = types.getMessage(type);
  const message = desc && exactly(desc, bytes);
  if (desc === undefined || message === undefined) return undefined;
  return { "@type": type, ...Object(toJson(desc, message)) };
}

/** The message, if these bytes are nothing besides. */
function exactly<D extends DescMessage>(desc: D, bytes: Uint8Array): MessageShape<D> | undefined {
  try {
    const message = fromBinary(desc, bytes, { readUnknownFields: false });
    return Buffer.from(toBinary(desc, message)).equals(bytes) ? message : undefined;
  } catch {
    return undefined;
  }
}
