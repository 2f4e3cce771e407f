import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { createClient } from "@connectrpc/connect";
import {
  type CallOptions,
  Client,
  compressionAlgorithms,
  credentials,
  Metadata,
  Server,
  ServerCredentials,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createSession, type UpstreamSession } from "../../packages/gateway/src/upstream/session/session.ts";
import { createSessionTransport } from "../../packages/gateway/src/upstream/session/transport.ts";
import type { Code } from "../gen/connectrpc/conformance/v1/config_pb.ts";
import {
  ConformanceService,
  ErrorSchema,
  ServerStreamResponseSchema,
  type UnaryRequestSchema,
  UnaryResponseSchema,
} from "../gen/connectrpc/conformance/v1/service_pb.ts";
import { figure } from "../harness/figures.ts";
import { type ServedConformance, serveConformance } from "./edge.ts";

// Google's own gRPC for Node, at both ends: as a client of the public port, and as an internal service.

const { unary, serverStream } = ConformanceService.method;
const megabyte = new Uint8Array(2 ** 20).fill(7);
const unicode = "déjà vu – 日本語 🚀 100 %";

let passed = 0;
let asked = 0;
/** A test that counts. */
function interop(name: string, run: () => Promise<void>): void {
  asked++;
  test(name, async () => {
    await run();
    passed++;
  });
}
afterAll(() => {
  figure({
    id: "A3",
    test: "gRPC interop with @grpc/grpc-js as client and as upstream",
    expected: "100 %",
    measured: `${passed} of ${asked}`,
    reached: passed === asked,
  });
});

describe("grpc-js as client of the public port", () => {
  let served: ServedConformance;
  let plain: Client;
  let gzip: Client;
  beforeAll(async () => {
    // A request has the megabyte twice: as its own, and as what to answer.
    served = await serveConformance({ maxRequestBytes: 3 * megabyte.length });
    plain = new Client(served.url.host, credentials.createInsecure());
    gzip = new Client(served.url.host, credentials.createInsecure(), {
      "grpc.default_compression_algorithm": compressionAlgorithms.gzip,
    });
  });
  afterAll(async () => {
    plain.close();
    gzip.close();
    await served.close();
  });

  const answerWith = (responseData: Uint8Array) => ({
    responseDefinition: { response: { case: "responseData" as const, value: responseData } },
  });

  interop("an empty call", async () => {
    expect((await callUnary(plain, {})).message.payload?.data).toHaveLength(0);
  });

  interop("a megabyte each way", async () => {
    const { message } = await callUnary(plain, { ...answerWith(megabyte), requestData: megabyte });
    expect(isMegabyte(message.payload?.data)).toBe(true);
  });

  interop("a megabyte each way, compressed", async () => {
    const { message } = await callUnary(gzip, { ...answerWith(megabyte), requestData: megabyte });
    expect(isMegabyte(message.payload?.data)).toBe(true);
  });

  interop("metadata each way, text and binary, several of a name", async () => {
    const metadata = new Metadata();
    metadata.add("x-list", "one");
    metadata.add("x-list", "two");
    metadata.add("x-bytes-bin", Buffer.of(0, 1, 255));
    const { message, header, trailer } = await callUnary(
      plain,
      {
        responseDefinition: {
          responseHeaders: [{ name: "x-head", value: ["a"] }],
          responseTrailers: [{ name: "x-trail-bin", value: ["AAH/"] }],
        },
      },
      metadata,
    );
    const came = new Map(
      message.payload?.requestInfo?.requestHeaders.map(({ name, value }) => [name, value]),
    );
    expect(came.get("x-list")).toEqual(["one", "two"]);
    expect(came.get("x-bytes-bin")?.[0]?.replaceAll("=", "")).toBe("AAH/");
    expect(header.get("x-head")).toEqual(["a"]);
    expect(trailer.get("x-trail-bin")).toEqual([Buffer.of(0, 1, 255)]);
  });

  interop("every code, with a message of any script", async () => {
    for (let code = 1; code <= 16; code++) {
      const error = create(ErrorSchema, { code: code as Code, message: unicode });
      const failure = await failureOf(
        callUnary(plain, { responseDefinition: { response: { case: "error", value: error } } }),
      );
      expect(failure).toMatchObject({ code, details: unicode });
    }
  });

  interop("a stream, and the error that ends it", async () => {
    const data = [1, 2, 3].map((each) => Uint8Array.of(each));
    const got: number[] = [];
    const stream = callStream(plain, {
      responseDefinition: { responseData: data, error: { code: status.ABORTED, message: unicode } },
    });
    const failure = await failureOf(
      (async () => {
        for await (const { payload } of stream) got.push(...(payload?.data ?? []));
      })(),
    );
    expect(got).toEqual([1, 2, 3]);
    expect(failure).toMatchObject({ code: status.ABORTED, details: unicode });
  });

  interop("a deadline", async () => {
    const request = { responseDefinition: { responseDelayMs: 20_000 } };
    const failure = await failureOf(
      callUnary(plain, request, new Metadata(), { deadline: Date.now() + 200 }),
    );
    expect(failure.code).toBe(status.DEADLINE_EXCEEDED);
  });

  interop("a stream that is cancelled", async () => {
    const stream = callStream(plain, {
      responseDefinition: { responseData: [Uint8Array.of(1), Uint8Array.of(2)], responseDelayMs: 300 },
    });
    stream.once("data", () => stream.cancel());
    const failure = await failureOf(new Promise((_, reject) => stream.on("error", reject)));
    expect(failure.code).toBe(status.CANCELLED);
  });
});

describe("grpc-js as an internal service", () => {
  let server: Server;
  let session: UpstreamSession;
  let client: ReturnType<typeof createClient<typeof ConformanceService>>;
  beforeAll(async () => {
    server = new Server({ "grpc.max_receive_message_length": 4 * megabyte.length });
    server.addService(
      { unary: definitionOf(unary), serverStream: definitionOf(serverStream) },
      {
        // Gives back what it is given, or fails as the metadata says.
        unary: (call: UnaryCall, respond: Respond) => {
          const [code] = call.metadata.get("x-code");
          const trailer = new Metadata();
          trailer.set("x-trail", "end");
          if (code === "never") return;
          if (code !== undefined) return respond({ code: Number(code), details: unicode, metadata: trailer });
          const head = new Metadata();
          head.set("x-head", String(call.metadata.get("x-ask")[0] ?? ""));
          call.sendMetadata(head);
          respond(
            null,
            create(UnaryResponseSchema, { payload: { data: call.request.requestData } }),
            trailer,
          );
        },
        serverStream: (call: StreamCall) => {
          for (const each of [1, 2, 3])
            call.write(create(ServerStreamResponseSchema, { payload: { data: Uint8Array.of(each) } }));
          if (call.metadata.get("x-code")[0] === "never") return;
          call.emit("error", { code: status.ABORTED, details: unicode });
        },
      },
    );
    const port = await new Promise<number>((resolve, reject) =>
      server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      ),
    );
    session = createSession("grpc-js", [new URL(`http://127.0.0.1:${port}`)]);
    const transport = createSessionTransport(session, 4 * megabyte.length);
    client = createClient(ConformanceService, transport);
  });
  afterAll(() => {
    session.close();
    server.forceShutdown();
  });

  interop("an empty call", async () => {
    expect((await client.unary({})).payload?.data).toHaveLength(0);
  });

  interop("a megabyte each way", async () => {
    expect(isMegabyte((await client.unary({ requestData: megabyte })).payload?.data)).toBe(true);
  });

  interop("metadata each way", async () => {
    let head: string | null = null;
    let trail: string | null = null;
    await client.unary(
      {},
      {
        headers: { "x-ask": "please" },
        onHeader: (headers) => {
          head = headers.get("x-head");
        },
        onTrailer: (trailers) => {
          trail = trailers.get("x-trail");
        },
      },
    );
    expect([head, trail]).toEqual(["please", "end"]);
  });

  interop("every code, in trailers alone, with a message of any script", async () => {
    for (let code = 1; code <= 16; code++) {
      const failure = await failureOf(client.unary({}, { headers: { "x-code": String(code) } }));
      expect(failure).toMatchObject({ code, rawMessage: unicode });
    }
  });

  interop("a stream, and the error that ends it", async () => {
    const got: number[] = [];
    const failure = await failureOf(
      (async () => {
        for await (const { payload } of client.serverStream({})) got.push(...(payload?.data ?? []));
      })(),
    );
    expect(got).toEqual([1, 2, 3]);
    expect(failure).toMatchObject({ code: status.ABORTED, rawMessage: unicode });
  });

  interop("a deadline", async () => {
    const failure = await failureOf(client.unary({}, { headers: { "x-code": "never" }, timeoutMs: 200 }));
    expect(failure.code).toBe(status.DEADLINE_EXCEEDED);
  });

  interop("a stream that is cancelled", async () => {
    const leaving = new AbortController();
    const failure = await failureOf(
      (async () => {
        const options = { headers: { "x-code": "never" }, signal: leaving.signal };
        for await (const _ of client.serverStream({}, options)) leaving.abort();
      })(),
    );
    expect(failure.code).toBe(status.CANCELLED);
  });
});

/** grpc-js reads into Buffers, which equal no other bytes. */
function isMegabyte(data: Uint8Array | undefined): boolean {
  return data !== undefined && Buffer.compare(data, megabyte) === 0;
}

interface UnaryCall {
  readonly request: MessageShape<typeof UnaryRequestSchema>;
  readonly metadata: Metadata;
  readonly sendMetadata: (metadata: Metadata) => void;
}
type Respond = (error: Partial<ServiceError> | null, value?: unknown, trailer?: Metadata) => void;
interface StreamCall {
  readonly metadata: Metadata;
  readonly write: (message: unknown) => void;
  readonly emit: (event: "error", error: Partial<ServiceError>) => void;
}

function definitionOf<M extends DescMethod>(method: M) {
  const { input, output }: DescMethod = method;
  return {
    path: `/${method.parent.typeName}/${method.name}`,
    requestStream: false,
    responseStream: method.methodKind === "server_streaming",
    requestSerialize: (message: MessageInitShape<M["input"]>) =>
      Buffer.from(toBinary(input, create(input, message))),
    requestDeserialize: (bytes: Buffer) => fromBinary(input, bytes) as MessageShape<M["input"]>,
    responseSerialize: (message: MessageInitShape<M["output"]>) =>
      Buffer.from(toBinary(output, create(output, message))),
    responseDeserialize: (bytes: Buffer) => fromBinary(output, bytes) as MessageShape<M["output"]>,
  };
}

interface Answered {
  readonly message: MessageShape<typeof UnaryResponseSchema>;
  readonly header: Metadata;
  readonly trailer: Metadata;
}

function callUnary(
  client: Client,
  request: MessageInitShape<typeof UnaryRequestSchema>,
  metadata = new Metadata(),
  options: CallOptions = {},
): Promise<Answered> {
  const { path, requestSerialize, responseDeserialize } = definitionOf(unary);
  let header = new Metadata();
  let trailer = new Metadata();
  return new Promise((resolve, reject) => {
    const call = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      metadata,
      options,
      (error, message) => {
        // The status, with its trailers, comes behind the answer.
        if (error !== null || message === undefined) return reject(error);
        setImmediate(() => resolve({ message, header, trailer }));
      },
    );
    call.on("metadata", (came) => {
      header = came;
    });
    call.on("status", (came) => {
      trailer = came.metadata;
    });
  });
}

function callStream(client: Client, request: MessageInitShape<(typeof serverStream)["input"]>) {
  const { path, requestSerialize, responseDeserialize } = definitionOf(serverStream);
  return client.makeServerStreamRequest(path, requestSerialize, responseDeserialize, request);
}

/** What a call fails with, of either library; their codes are the same numbers. */
async function failureOf(work: Promise<unknown>): Promise<{ readonly code: number }> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (error instanceof Error && "code" in error) return error as Error & { code: number };
  throw new Error(`expected a failure with a code, got ${String(error)}`);
}
