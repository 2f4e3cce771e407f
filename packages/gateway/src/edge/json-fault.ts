import { type DescField, type DescMessage, fromJson, type JsonValue } from "@bufbuild/protobuf";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";

/** Finds the first field of a JSON request that cannot be decoded, once it is known that there is one. */
export type FindJsonFault = (desc: DescMessage) => string | undefined;

/**
 * Keeps the body of a JSON request while it is read, so that an error can name the field: the decoder names only
 * the type of an enum, or of a message such as a timestamp. Costs nothing for other requests.
 *
 * The search takes a few milliseconds at most: in more than 64 KiB, or behind 2,000 values, no fault is found.
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
    if (chunks.reduce((sum, { length }) => sum + length, 0) > maxBytes) return undefined;
    const bytes = Buffer.concat(chunks);
    // All but Connect's unary calls have an envelope of five bytes.
    return (contentType.startsWith("application/json") ? bytes : bytes.subarray(5)).toString();
  };
  return { request: { ...request, body: keeping(body, chunks) }, find: finder(text) };
}

async function* keeping(body: AsyncIterable<Uint8Array>, chunks: Uint8Array[]): AsyncGenerator<Uint8Array> {
  let kept = 0;
  for await (const chunk of body) {
    // A stream can have requests without end: the one that is too much says so, and none behind it is kept.
    if (kept <= maxBytes) {
      chunks.push(chunk);
      kept += chunk.length;
    }
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

/** How much is searched, and how many of its parts are looked at: who sends faults must not make others wait. */
const maxBytes = 64 * 2 ** 10;
const maxParts = 2_000;

function finder(text: () => string | undefined): FindJsonFault {
  return (desc) => {
    try {
      const json = text();
      return json === undefined || json.length > maxBytes ? undefined : search(desc, JSON.parse(json));
    } catch {
      // No JSON at all, compressed, nested too deeply, or too much of it: the decoder's own words have to do.
      return undefined;
    }
  };
}

function search(desc: DescMessage, json: JsonValue): string | undefined {
  let left = maxParts;
  const count = () => {
    if (left-- <= 0) throw new Error("the search takes too long");
  };
  return faultIn(desc, json, count) ?? faultOfWhole(desc, json, count);
}

/**
 * Decodes each value in a message once, but no message as a whole: on the way down, all that is in it would be decoded
 * again at each level.
 *
 * @param count is called before each step that takes time; throws when there are too many
 */
function faultIn(desc: DescMessage, json: JsonValue, count: () => void): string | undefined {
  for (const [field, value] of fieldsOf(desc, json)) {
    const { name, fieldKind, message } = field;
    // Well-known types have a JSON form of their own, without their fields.
    const inside = message?.typeName.startsWith("google.protobuf.") ? undefined : message;
    for (const { step, part, alone } of partsOf(field, value)) {
      count();
      if (inside === undefined || !isObject(part)) {
        if (!decodes(field, alone(part))) return `${name}${step}`;
        continue;
      }
      if (fieldKind === "map" && !decodes(field, alone({}))) return `${name}${step}`;
      const path = faultIn(inside, part, count);
      if (path !== undefined) return `${name}${step}.${path}`;
    }
  }
  return undefined;
}

/** The field whose parts are right but do not go together, such as two fields of one oneof; no deeper than its items. */
function faultOfWhole(desc: DescMessage, json: JsonValue, count: () => void): string | undefined {
  for (const [field, value] of fieldsOf(desc, json)) {
    count();
    if (decodes(field, value)) continue;
    for (const { step, part, alone } of partsOf(field, value)) {
      count();
      if (!decodes(field, alone(part))) return `${field.name}${step}`;
    }
    return field.name;
  }
  return undefined;
}

function* fieldsOf(desc: DescMessage, json: JsonValue): Iterable<readonly [DescField, JsonValue]> {
  if (!isObject(json)) return;
  for (const [key, value] of Object.entries(json)) {
    const field = desc.fields.find(({ name, jsonName }) => key === jsonName || key === name);
    if (field !== undefined) yield [field, value];
  }
}

/** An item of a list, an entry of a map, or the one value of another field. */
interface Part {
  /** Behind the field's name in the path: `[2]`. */
  readonly step: string;
  readonly part: JsonValue;
  /** The value of the field with this alone in the place of the part. */
  readonly alone: (part: JsonValue) => JsonValue;
}

function* partsOf({ fieldKind }: DescField, value: JsonValue): Iterable<Part> {
  if (fieldKind === "list" && Array.isArray(value)) {
    for (const [index, part] of value.entries()) yield { step: `[${index}]`, part, alone: (part) => [part] };
  } else if (fieldKind === "map" && isObject(value)) {
    for (const [key, part] of Object.entries(value))
      yield { step: `[${JSON.stringify(key)}]`, part, alone: (part) => ({ [key]: part }) };
  } else yield { step: "", part: value, alone: (part) => part };
}

function isObject(json: JsonValue): json is { [key: string]: JsonValue } {
  return typeof json === "object" && json !== null && !Array.isArray(json);
}

function decodes({ parent, jsonName }: DescField, value: JsonValue): boolean {
  try {
    fromJson(parent, { [jsonName]: value });
    return true;
  } catch {
    return false;
  }
}
