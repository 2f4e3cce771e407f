import { Agent, request as h1Request } from "node:http";
import { type ClientHttp2Session, type ClientHttp2Stream, connect, constants } from "node:http2";
import { codeName } from "../raw-call.ts";
import type { PreparedRequest } from "./requests.ts";

/** How one call ended. */
export interface CallEnd {
  /** `ok`, the name of a code, `http 404` for what is no protocol's answer, or `network` if none came. */
  readonly code: string;
  /** What there is to say about a failure. */
  readonly words: string;
  /** Set if the server said that it had not begun with it: it is safe to send it again. */
  readonly refused?: boolean;
}

/** Sends prepared requests over connections that it keeps. */
export interface Sender {
  readonly send: (request: PreparedRequest) => Promise<CallEnd>;
  readonly close: () => void;
}

/** How a sender sends. */
export interface SenderOptions {
  readonly url: string;
  /** At most over HTTP/1.1, exactly over HTTP/2. */
  readonly connections: number;
  /** After this a call without an end counts as failed, as `hung`. Milliseconds. */
  readonly patienceMs: number;
}

/** Sends over HTTP/1.1 with keep-alive, as a browser or a service does. */
export function createH1Sender({ url, connections, patienceMs }: SenderOptions): Sender {
  const { hostname, port } = new URL(url);
  const agent = new Agent({ keepAlive: true, maxSockets: connections, scheduling: "lifo" });
  const send = ({ path, headers, body, answer }: PreparedRequest) =>
    new Promise<CallEnd>((resolve) => {
      const options = { hostname, port, path, method: "POST", headers, agent };
      const request = h1Request(options, (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("error", (error) => resolve(network(error)));
        response.on("close", () => resolve(network(new Error("the answer was cut off"))));
        response.on("end", () =>
          resolve(readConnect(response.statusCode ?? 0, Buffer.concat(chunks), answer)),
        );
      });
      request.setTimeout(patienceMs, () => {
        resolve(hung);
        request.destroy();
      });
      request.on("error", (error) => resolve(network(error)));
      request.end(body);
    });
  return { send, close: () => agent.destroy() };
}

/** Sends over HTTP/2, in turns over several connections. One that is closing takes no more calls and is replaced. */
export function createH2Sender({ url, connections, patienceMs }: SenderOptions): Sender {
  const sessions: (ClientHttp2Session | undefined)[] = Array.from({ length: connections });
  let turn = 0;
  const open = (place: number): ClientHttp2Session => {
    const session = connect(url);
    const leave = () => {
      if (sessions[place] === session) sessions[place] = undefined;
    };
    // What happens to its calls is told by them.
    session.on("error", leave).on("close", leave).on("goaway", leave);
    sessions[place] = session;
    return session;
  };
  const send = ({ path, headers, body, way }: PreparedRequest) =>
    new Promise<CallEnd>((resolve) => {
      const place = turn++ % connections;
      const present = sessions[place];
      const session = present === undefined || present.closed || present.destroyed ? open(place) : present;
      let stream: ClientHttp2Stream;
      try {
        stream = session.request({ ...headers, ":method": "POST", ":path": path });
      } catch (error) {
        // Closed in this very moment: nothing was sent.
        resolve({ ...network(error), refused: true });
        return;
      }
      readH2(stream, session, way === "grpc", patienceMs, resolve);
      stream.end(body);
    });
  return {
    send,
    close: () => {
      for (const session of sessions) session?.destroy();
    },
  };
}

function readH2(
  stream: ClientHttp2Stream,
  session: ClientHttp2Session,
  isGrpc: boolean,
  patienceMs: number,
  resolve: (end: CallEnd) => void,
): void {
  const chunks: Buffer[] = [];
  let head: Readonly<Record<string, unknown>> = {};
  let trailers: Readonly<Record<string, unknown>> = {};
  let lastTaken = Number.POSITIVE_INFINITY;
  let failure: unknown;
  const timer = setTimeout(() => {
    resolve(hung);
    stream.close(constants.NGHTTP2_CANCEL);
  }, patienceMs);
  const onGoaway = (_code: number, lastStreamId: number) => {
    lastTaken = lastStreamId;
  };
  session.on("goaway", onGoaway);
  stream.on("response", (given) => {
    head = given;
  });
  stream.on("trailers", (given) => {
    trailers = given;
  });
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  stream.on("error", (error) => {
    failure = error;
  });
  stream.on("close", () => {
    clearTimeout(timer);
    session.off("goaway", onGoaway);
    const status = Number(head[":status"] ?? 0);
    const grpcStatus = trailers["grpc-status"] ?? head["grpc-status"];
    if (isGrpc && grpcStatus !== undefined)
      resolve(grpcEnd(Number(grpcStatus), String(trailers["grpc-message"] ?? head["grpc-message"] ?? "")));
    else if (!isGrpc && status !== 0 && stream.rstCode === 0)
      resolve(readConnect(status, Buffer.concat(chunks)));
    else {
      const refused =
        stream.rstCode === constants.NGHTTP2_REFUSED_STREAM ||
        stream.id === undefined ||
        stream.id > lastTaken;
      resolve({
        ...network(failure ?? new Error(`reset with ${stream.rstCode}`)),
        ...(refused && { refused }),
      });
    }
  });
}

/** A call without an end. */
export const hung: CallEnd = { code: "hung", words: "no answer at all" };

/** A call that got no answer. */
export function network(error: unknown): CallEnd {
  return { code: "network", words: error instanceof Error ? error.message : String(error) };
}

function grpcEnd(status: number, words: string): CallEnd {
  return status === 0 ? ok : { code: codeName(status), words };
}

const ok: CallEnd = { code: "ok", words: "" };

/** An answer of Connect's unary protocol, which may be told what it must be. */
export function readConnect(status: number, body: Buffer, wanted?: Uint8Array): CallEnd {
  if (status === 200)
    return wanted === undefined || body.equals(wanted)
      ? ok
      : { code: "wrong answer", words: body.toString() };
  const words = body.toString("utf8").slice(0, 500);
  const code = /"code":"(\w+)"/.exec(words)?.[1];
  return { code: code ?? `http ${status}`, words };
}
