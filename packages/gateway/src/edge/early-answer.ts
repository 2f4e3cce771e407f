import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerResponse, ServerHttp2Stream } from "node:http2";
import type { DescMethod } from "@bufbuild/protobuf";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";

/**
 * Whether a call is answered although its request has not come in whole: it was refused. Not where requests are a stream,
 * which may well be answered before it ends.
 */
export function isEarly({ methodKind }: Pick<DescMethod, "methodKind">, request: IncomingMessage): boolean {
  return (methodKind === "unary" || methodKind === "server_streaming") && !request.complete;
}

/**
 * Writes an answer at one go, its end included. The router's own writer, and Node's stand-in for an HTTP/1 answer, write
 * headers, body and end one after the other, and a client that sees the first may end its request short of its
 * `content-length`: Node then resets the stream with PROTOCOL_ERROR, and the rest of the answer is lost.
 */
export async function writeAtOnce(answer: UniversalServerResponse, response: ServerResponse): Promise<void> {
  const chunks: Uint8Array[] = [];
  // The router fills in headers and trailers while its body is read.
  for await (const chunk of answer.body ?? []) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const header = Object.fromEntries(answer.header ?? []);
  const trailer = Object.fromEntries(answer.trailer ?? []);
  if ("stream" in response) writeH2(response, { status: answer.status, header, trailer, body });
  else response.writeHead(answer.status, header).end(body);
}

interface WholeAnswer {
  readonly status: number;
  readonly header: Readonly<Record<string, string>>;
  readonly trailer: Readonly<Record<string, string>>;
  readonly body: Buffer;
}

function writeH2(response: ServerResponse, { status, header, trailer, body }: WholeAnswer): void {
  const stream = (response as unknown as Http2ServerResponse).stream as ServerHttp2Stream;
  if (stream.destroyed || stream.closed || stream.headersSent) return;
  response.statusCode = status;
  // gRPC's trailers may come with the headers where there is no message between them.
  const headers = { ...response.getHeaders(), ...header, ...trailer, ":status": status };
  stream.respond(headers, { endStream: body.length === 0 });
  // Also lets the stand-in know that it is over.
  if (body.length === 0) response.end();
  else response.end(body);
}
