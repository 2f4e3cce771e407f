import { fromJson, toJson } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel } from "@bufbuild/protobuf/wkt";
import { ConnectError, type Transport } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
  Http2SessionManager,
} from "@connectrpc/connect-node";
import {
  nameOf,
  type Refusal,
  Refused,
  type StreamWay,
  type Target,
  type UnaryCall,
  type Way,
} from "./way.ts";

/** All that connect-node can do. gRPC needs HTTP/2: its transport knows no other. */
export const connectNodeWays: readonly Way[] = [
  ...combinations().map(unaryWay),
  ...combinations()
    .filter(({ protocol }) => protocol === "connect")
    .map((combination) => unaryWay({ ...combination, get: true })),
];

export const connectNodeStreamWays: readonly StreamWay[] = combinations().map(streamWay);

interface Combination {
  readonly protocol: "connect" | "grpc" | "grpc-web";
  readonly http: "1.1" | "2";
  readonly codec: "proto" | "json";
  readonly get?: boolean;
}

function combinations(): Combination[] {
  return (["connect", "grpc", "grpc-web"] as const).flatMap((protocol) =>
    (["1.1", "2"] as const)
      .filter((http) => protocol !== "grpc" || http === "2")
      .flatMap((http) => (["proto", "json"] as const).map((codec) => ({ protocol, http, codec }))),
  );
}

function unaryWay(combination: Combination): Way {
  return {
    name: nameOfWay(combination),
    cannot: ({ method }) =>
      combination.get === true && method.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS,
    call: async (target, { method, request, headers }: UnaryCall) => {
      const { transport, close } = connect(target, combination);
      try {
        const message = fromJson(method.input, request);
        const answer = await transport.unary(method, undefined, undefined, headers, message);
        return { code: "ok", message: toJson(method.output, answer.message) };
      } catch (error) {
        return refusal(error);
      } finally {
        close();
      }
    },
  };
}

function streamWay(combination: Combination): StreamWay {
  return {
    name: nameOfWay(combination),
    watch: async function* (target, { method, request, headers, signal, timeoutMs }) {
      const { transport, close } = connect(target, combination);
      try {
        const messages = once(fromJson(method.input, request));
        const answer = await transport.stream(method, signal, timeoutMs, headers, messages);
        for await (const message of answer.message) yield toJson(method.output, message);
      } catch (error) {
        throw new Refused(refusal(error));
      } finally {
        close();
      }
    },
  };
}

function nameOfWay({ protocol, http, codec, get }: Combination): string {
  return `connect-node, ${protocol}${get ? " GET" : ""}, ${codec}, HTTP/${http}`;
}

function connect({ url, ca }: Target, { protocol, http, codec, get }: Combination) {
  const common = { baseUrl: url, useBinaryFormat: codec === "proto" };
  const tls = ca === undefined ? {} : { ca };
  const sessionManager = new Http2SessionManager(url, undefined, tls);
  const version =
    http === "2"
      ? ({ httpVersion: "2", sessionManager } as const)
      : ({ httpVersion: "1.1", nodeOptions: tls } as const);
  const transports: Record<Combination["protocol"], () => Transport> = {
    connect: () => createConnectTransport({ ...common, ...version, useHttpGet: get === true }),
    grpc: () => createGrpcTransport({ ...common, sessionManager }),
    "grpc-web": () => createGrpcWebTransport({ ...common, ...version }),
  };
  return { transport: transports[protocol](), close: () => sessionManager.abort() };
}

function refusal(thrown: unknown): Refusal {
  const error = ConnectError.from(thrown);
  return {
    code: nameOf(error.code),
    message: error.rawMessage,
    requestId: error.metadata.get("x-request-id") ?? undefined,
  };
}

async function* once<T>(value: T) {
  yield value;
}
