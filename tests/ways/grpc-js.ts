import { fileURLToPath } from "node:url";
import { fromBinary, toJson } from "@bufbuild/protobuf";
import {
  type CallOptions,
  Client,
  credentials,
  Metadata,
  type MethodDefinition,
  type ServiceError,
} from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import {
  nameOf,
  pathOf,
  type Refusal,
  Refused,
  type StreamWay,
  type Target,
  type UnaryCall,
  type Way,
} from "./way.ts";

/** Google's own client for Node, which knows the API from its proto files alone. */
export const grpcJsWay: Way = {
  name: "grpc-js",
  call: (target, call) => {
    const client = connect(target);
    const { path, requestSerialize, responseDeserialize, responseSerialize } = definitionOf(call);
    return new Promise((resolve) => {
      const arrived = new Metadata();
      client
        .makeUnaryRequest(
          path,
          requestSerialize,
          responseDeserialize,
          call.request,
          metadataOf(call.headers),
          (error, message) => {
            client.close();
            if (error !== null) return resolve(refusal(error, arrived));
            const bytes = responseSerialize(message ?? {});
            resolve({
              code: "ok",
              message: toJson(call.method.output, fromBinary(call.method.output, bytes)),
            });
          },
        )
        .on("metadata", (metadata: Metadata) => arrived.merge(metadata));
    });
  },
};

export const grpcJsStreamWay: StreamWay = {
  name: "grpc-js",
  watch: async function* (target, call) {
    const client = connect(target);
    const { path, requestSerialize, responseDeserialize, responseSerialize } = definitionOf(call);
    const options: CallOptions =
      call.timeoutMs === undefined ? {} : { deadline: Date.now() + call.timeoutMs };
    const stream = client.makeServerStreamRequest(
      path,
      requestSerialize,
      responseDeserialize,
      call.request,
      metadataOf(call.headers),
      options,
    );
    const arrived = new Metadata();
    stream.on("metadata", (metadata: Metadata) => arrived.merge(metadata));
    call.signal.addEventListener("abort", () => stream.cancel());
    try {
      for await (const message of stream)
        yield toJson(call.method.output, fromBinary(call.method.output, responseSerialize(message)));
    } catch (error) {
      if (isServiceError(error)) throw new Refused(refusal(error, arrived));
      throw error;
    } finally {
      stream.cancel();
      client.close();
    }
  },
};

/** Types as proto-loader has them: it knows no messages, only objects. */
type Definition = MethodDefinition<object, object>;

const root = fileURLToPath(new URL("../..", import.meta.url));
const definitions = loadSync(
  ["users", "orders", "inventory"].map((name) => `smpl/api/${name}/v1/api_${name}_service.proto`),
  {
    includeDirs: ["proto/public", "proto", "third_party"].map((folder) => `${root}/${folder}`),
    longs: String,
  },
);

/** A method that the proto files do not have is called as if it were the service's first. */
function definitionOf({
  method,
}: Pick<UnaryCall, "method"> | { readonly method: Parameters<typeof pathOf>[0] }): Definition {
  const service = definitions[method.parent.typeName];
  if (service === undefined || !isService(service))
    throw new Error(`no proto file has ${method.parent.typeName}`);
  const known = service[method.name] ?? Object.values(service)[0];
  if (known === undefined) throw new Error(`${method.parent.typeName} has no methods`);
  return { ...known, path: pathOf(method) };
}

function isService(definition: object): definition is Record<string, Definition> {
  return !("format" in definition);
}

function connect({ url, ca }: Target): Client {
  const channel = ca === undefined ? credentials.createInsecure() : credentials.createSsl(Buffer.from(ca));
  // TLS has no server names that are addresses; the certificate is good for this one as well.
  const options = ca === undefined ? {} : { "grpc.ssl_target_name_override": "localhost" };
  return new Client(new URL(url).host, channel, options);
}

function metadataOf(headers: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

function refusal({ code, details, metadata }: ServiceError, arrived: Metadata): Refusal {
  const [requestId] = [...arrived.get("x-request-id"), ...metadata.get("x-request-id")];
  // gRPC's codes are Connect's.
  return { code: nameOf(Number(code)), message: details, requestId: requestId?.toString() };
}

function isServiceError(error: unknown): error is ServiceError {
  return error instanceof Error && "details" in error && "metadata" in error;
}
