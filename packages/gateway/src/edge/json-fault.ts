import { type DescField, type DescMessage, fromJson, type JsonValue } from "@bufbuild/protobuf";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";

/** Finds the first field of a JSON request that cannot be decoded, once it is known that there is one. */
export type FindJsonFault = (desc: DescMessage) => string | undefined;

/**
 * Keeps the body of a JSON request while it is read, so that an error can name the field: the decoder names only
 * the type of an enum, or of a message such as a timestamp. Costs nothing for other requests.
 *
 * @returns the request to read, and how to find the fault; its path is as in the proto: `line_items[2].status`
 */
export function watchJson(request: UniversalServerRequest): {
  request: UniversalServerRequest;
  find: FindJsonFault;
} {
  const contentType = request.header.get("content-type") ?? "";
  const { body } = request;
  if (request.method === "GET") return { request, find: finder(() => messageInQuery(request.url)) };
  if (!contentType.includes("json") || !isIterable(body)) return { request, find: () => undefined };
  const chunks: Uint8Array[] = [];
  const text = () => {
    const bytes = Buffer.concat(chunks);
    // All but Connect's unary calls have an envelope of five bytes.
    return (contentType.startsWith("application/json") ? bytes : bytes.subarray(5)).toString();
  };
  return { request: { ...request, body: keeping(body, chunks) }, find: finder(text) };
}

async function* keeping(body: AsyncIterable<Uint8Array>, chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    chunks.push(chunk);
    yield chunk;
  }
}

function isIterable(body: UniversalServerRequest["body"]): body is AsyncIterable<Uint8Array> {
  return typeof body === "object" && body !== null && Symbol.asyncIterator in body;
}

function messageInQuery(url: string): string {
  const query = new URL(url).searchParams;
  const message = query.get("message") ?? "";
  return query.get("base64") === "1" ? Buffer.from(message, "base64url").toString() : message;
}

function finder(text: () => string): FindJsonFault {
  return (desc) => {
    try {
      return faultIn(desc, JSON.parse(text()));
    } catch {
      // No JSON at all, or compressed: the decoder's own words have to do.
      return undefined;
    }
  };
}

function faultIn(desc: DescMessage, json: JsonValue): string | undefined {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return undefined;
  for (const [key, value] of Object.entries(json)) {
    const field = desc.fields.find(({ name, jsonName }) => key === jsonName || key === name);
    if (field !== undefined && !decodes(desc, { [key]: value }))
      return `${field.name}${insideField(field, value)}`;
  }
  return undefined;
}

/** The rest of the path behind a field's name; empty if the fault is the field itself. */
function insideField(field: DescField, value: JsonValue): string {
  if (field.fieldKind === "list" && Array.isArray(value)) {
    const index = value.findIndex((item) => !decodes(field.parent, { [field.jsonName]: [item] }));
    return index < 0 ? "" : `[${index}]${insideMessage(field.message, value[index])}`;
  }
  if (field.fieldKind === "map" && typeof value === "object" && value !== null && !Array.isArray(value)) {
    const entry = Object.entries(value).find(
      ([key, item]) => !decodes(field.parent, { [field.jsonName]: { [key]: item } }),
    );
    return entry === undefined
      ? ""
      : `[${JSON.stringify(entry[0])}]${insideMessage(field.message, entry[1])}`;
  }
  return insideMessage(field.message, value);
}

function insideMessage(desc: DescMessage | undefined, value: JsonValue | undefined): string {
  // Well-known types have a JSON form of their own, without their fields.
  if (desc === undefined || value === undefined || desc.typeName.startsWith("google.protobuf.")) return "";
  const path = faultIn(desc, value);
  return path === undefined ? "" : `.${path}`;
}

function decodes(desc: DescMessage, json: JsonValue): boolean {
  try {
    fromJson(desc, json);
    return true;
  } catch {
    return false;
  }
}
