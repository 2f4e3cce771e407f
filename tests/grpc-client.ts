import {
  create,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { Client, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";

/** Google's client for Node, with the messages of protobuf-es. */
export interface GrpcClient extends Disposable {
  /** Calls a unary method. Rejects with a {@link ServiceError}. */
  readonly unary: <M extends DescMethod>(
    method: M,
    request: MessageInitShape<M["input"]>,
  ) => Promise<MessageShape<M["output"]>>;
  /** Opens a stream of any kind, and sends what is given; it can be iterated, which throws a {@link ServiceError}. */
  readonly open: <M extends DescMethod>(
    method: M,
    ...requests: readonly MessageInitShape<M["input"]>[]
  ) => GrpcStream<M>;
}

/** A stream in both directions. */
export interface GrpcStream<M extends DescMethod> {
  readonly send: (request: MessageInitShape<M["input"]>) => void;
  /** Sends no more. */
  readonly end: () => void;
  /** The next answer; `undefined` at the end. */
  readonly next: () => Promise<MessageShape<M["output"]> | undefined>;
  readonly cancel: () => void;
}

/** Connects to a gateway. */
export function grpcClient(url: string, token?: string): GrpcClient {
  const client = new Client(new URL(url).host, credentials.createInsecure());
  const metadata = new Metadata();
  if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
  return {
    unary: (method, request) =>
      new Promise((resolve, reject) => {
        client.makeUnaryRequest(
          pathOf(method),
          (message: Uint8Array) => Buffer.from(message),
          (bytes) => fromBinary(method.output, bytes),
          toBinary(method.input, create(method.input, request)),
          metadata,
          (error: ServiceError | null, answer) =>
            answer === undefined ? reject(error) : resolve(answer as never),
        );
      }),
    open: (method, ...requests) => {
      const stream = client.makeBidiStreamRequest(
        pathOf(method),
        (message: Uint8Array) => Buffer.from(message),
        (bytes) => fromBinary(method.output, bytes),
        metadata,
      );
      // Whoever waits for an answer hears of it.
      stream.on("error", () => {});
      const answers = stream[Symbol.asyncIterator]();
      const send = (request: MessageInitShape<DescMethod["input"]>): void =>
        void stream.write(toBinary(method.input, create(method.input, request)));
      for (const request of requests) send(request);
      if (method.methodKind === "server_streaming") stream.end();
      return {
        send,
        end: () => stream.end(),
        next: async () => {
          const { done, value } = await answers.next();
          return done === true ? undefined : value;
        },
        cancel: () => stream.cancel(),
      };
    },
    [Symbol.dispose]: () => client.close(),
  };
}

function pathOf(method: DescMethod): string {
  return `/${method.parent.typeName}/${method.name}`;
}
