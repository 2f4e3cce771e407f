import type { ClientHttp2Stream, ClientSessionRequestOptions, OutgoingHttpHeaders } from "node:http2";
import type { Transport } from "@connectrpc/connect";
import { createTransport } from "@connectrpc/connect/protocol-grpc";
import { createNodeHttpClient, type GrpcTransportOptions } from "@connectrpc/connect-node";

/** What connect-node asks of whoever makes its streams. It does not export the type itself. */
type ConnectNodeManager = NonNullable<GrpcTransportOptions["sessionManager"]>;

/** Makes the streams of a transport. */
export interface SessionManager extends ConnectNodeManager {
  /** @param signal ends with the call, however that ends. connect-node itself gives none */
  request(
    method: string,
    path: string,
    headers: OutgoingHttpHeaders,
    options: Omit<ClientSessionRequestOptions, "signal">,
    signal?: AbortSignal,
  ): Promise<ClientHttp2Stream>;
}

/**
 * gRPC over the streams of a session. Fields that the gateway's protos do not know are dropped here, so that no view can
 * pass them on.
 *
 * It is connect-node's own transport, but for one thing: whoever makes the streams is given the signal of the call. Else a
 * call whose caller has left would wait for a connection, and a stream of which the rest is not read would never end.
 *
 * @param readMaxBytes the largest message that is taken
 */
export function createSessionTransport(manager: SessionManager, readMaxBytes: number): Transport {
  return createTransport({
    baseUrl: manager.authority,
    httpClient: (request) => {
      const sessionProvider = () => withSignal(manager, request.signal);
      return createNodeHttpClient({ httpVersion: "2", sessionProvider })(request);
    },
    useBinaryFormat: true,
    binaryOptions: { readUnknownFields: false },
    interceptors: [],
    acceptCompression: [],
    sendCompression: null,
    compressMinBytes: 0,
    readMaxBytes,
    writeMaxBytes: 0xffff_ffff,
  });
}

function withSignal(manager: SessionManager, signal: AbortSignal | undefined): ConnectNodeManager {
  return {
    authority: manager.authority,
    request: (method, path, headers, options) => manager.request(method, path, headers, options, signal),
    // Pings tell whether a connection lives, whatever calls do.
    notifyResponseByteRead() {},
  };
}
