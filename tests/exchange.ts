import { request as h1Request } from "node:http";
import { connect as connectH2, constants } from "node:http2";
import { connect as connectTcp } from "node:net";

/** What came back over a socket, with no client library between. */
export interface Exchange {
  /** 0 if there was no answer. */
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly trailers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  /** Set if HTTP/2 reset the stream. */
  readonly reset?: number;
}

/** A request, as it goes out. */
export interface Outgoing {
  readonly method?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string | string[]>>;
  readonly body?: Uint8Array | string;
}

/** One request over HTTP/1.1 on a connection of its own. */
export function overH1(
  url: string,
  { method = "POST", path, headers = {}, body = "" }: Outgoing,
): Promise<Exchange> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const request = h1Request({ hostname, port, method, path, headers, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const { statusCode: status = 0, headers, trailers } = response;
        resolve({ status, headers: flat(headers), trailers: flat(trailers), body: Buffer.concat(chunks) });
      });
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** One request over HTTP/2 on a connection of its own. */
export function overH2(
  url: string,
  { method = "POST", path, headers = {}, body = "" }: Outgoing,
): Promise<Exchange> {
  const session = connectH2(url);
  return new Promise<Exchange>((resolve, reject) => {
    session.on("error", reject);
    const target = { ":method": method, ":path": path };
    const stream = session.request({ ...headers, ...target }, { endStream: body.length === 0 });
    const chunks: Buffer[] = [];
    let answer: Pick<Exchange, "status" | "headers"> = { status: 0, headers: {} };
    let trailers: Exchange["trailers"] = {};
    stream.on("response", (given) => {
      answer = { status: Number(given[":status"] ?? 0), headers: flat(given) };
    });
    stream.on("trailers", (given) => {
      trailers = flat(given);
    });
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    // The reset that follows is told by its code.
    stream.on("error", () => {});
    stream.on("close", () => {
      const reset = stream.rstCode === constants.NGHTTP2_NO_ERROR ? {} : { reset: stream.rstCode };
      resolve({ ...answer, trailers, body: Buffer.concat(chunks), ...reset });
    });
    if (body.length > 0) stream.end(body);
  }).finally(() => session.destroy());
}

/** Sends bytes over TCP as they are. Resolves to all that comes back, once the other side ends or has been silent. */
export function overTcp(url: string, bytes: Uint8Array | string, silentMs = 1_500): Promise<string> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connectTcp(Number(port), hostname, () => socket.write(bytes));
    socket.setTimeout(silentMs, () => socket.destroy());
    socket.on("data", (chunk) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("close", () => resolve(Buffer.concat(chunks).toString("latin1")));
  });
}

function flat(headers: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}
