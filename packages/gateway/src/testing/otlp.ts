import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import { vi } from "vitest";
import { serveHttp } from "./http.ts";

/** A span as a collector gets it. */
export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first of a trace. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: "internal" | "server" | "client" | "other";
  readonly attributes: Readonly<Record<string, string | number | boolean>>;
  readonly events: number;
  readonly failed: boolean;
}

/** A collector of traces, as OTLP over HTTP with protobuf has it. */
export interface Collector {
  /** What `OTEL_EXPORTER_OTLP_ENDPOINT` is. */
  readonly endpoint: string;
  readonly spans: readonly ReceivedSpan[];
  /** All that came, as it came. */
  readonly bytes: () => Buffer;
  /** Resolves to the first span that fits, once it is there. */
  readonly span: (fits: (span: ReceivedSpan) => boolean) => Promise<ReceivedSpan>;
}

/** Starts a collector, which ends with the test. */
export async function startCollector(): Promise<Collector> {
  const spans: ReceivedSpan[] = [];
  const bodies: Buffer[] = [];
  const endpoint = await serveHttp(async (request, response) => {
    const body = Buffer.concat(await request.toArray());
    bodies.push(body);
    if (request.url === "/v1/traces") spans.push(...spansIn(body));
    response.writeHead(200, { "content-type": "application/x-protobuf" }).end();
  });
  return {
    endpoint,
    spans,
    bytes: () => Buffer.concat(bodies),
    span: (fits) =>
      vi.waitFor(
        () => {
          const span = spans.find(fits);
          if (span === undefined) throw new Error("the span did not come");
          return span;
        },
        { timeout: 15_000, interval: 50 },
      ),
  };
}

/** The fields of one message, by their numbers: what is needed of the protos of OTLP, without them. */
type Fields = ReadonlyMap<number, readonly (Uint8Array | number | bigint)[]>;

function fieldsOf(bytes: Uint8Array): Fields {
  const fields = new Map<number, (Uint8Array | number | bigint)[]>();
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [number, type] = reader.tag();
    const values = fields.get(number) ?? [];
    fields.set(number, values);
    if (type === WireType.LengthDelimited) values.push(reader.bytes());
    else if (type === WireType.Varint) values.push(BigInt(reader.uint64()));
    else if (type === WireType.Bit64 && number === 4) values.push(reader.double());
    else reader.skip(type, number);
  }
  return fields;
}

function messages(fields: Fields, number: number): Fields[] {
  return (fields.get(number) ?? []).flatMap((value) =>
    value instanceof Uint8Array ? [fieldsOf(value)] : [],
  );
}

function bytes(fields: Fields, number: number): Buffer {
  const value = fields.get(number)?.[0];
  return Buffer.from(value instanceof Uint8Array ? value : []);
}

const kinds: Readonly<Record<number, ReceivedSpan["kind"]>> = { 1: "internal", 2: "server", 3: "client" };

function spansIn(request: Uint8Array): ReceivedSpan[] {
  return messages(fieldsOf(request), 1)
    .flatMap((resource) => messages(resource, 2))
    .flatMap((scope) => messages(scope, 2))
    .map((span) => ({
      traceId: bytes(span, 1).toString("hex"),
      spanId: bytes(span, 2).toString("hex"),
      parentSpanId: bytes(span, 4).toString("hex"),
      name: bytes(span, 5).toString(),
      kind: kinds[Number(span.get(6)?.[0])] ?? "other",
      attributes: Object.fromEntries(
        messages(span, 9).map((pair) => [bytes(pair, 1).toString(), attributeIn(pair)]),
      ),
      events: span.get(11)?.length ?? 0,
      failed: messages(span, 15).some((status) => Number(status.get(3)?.[0]) === 2),
    }));
}

function attributeIn(pair: Fields): string | number | boolean {
  const [value] = messages(pair, 2);
  if (value?.has(1)) return bytes(value, 1).toString();
  if (value?.has(2)) return Boolean(value.get(2)?.[0]);
  return Number(value?.get(3)?.[0] ?? value?.get(4)?.[0]);
}
