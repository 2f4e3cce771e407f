import type { IncomingMessage, ServerResponse } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";
import { encodeEnvelope } from "@connectrpc/connect/protocol";
import { endStreamFlag, errorToJson } from "@connectrpc/connect/protocol-connect";
import { setTrailerStatus } from "@connectrpc/connect/protocol-grpc";
import { errorDetails, PublicError } from "../../errors.ts";
import { RequestInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import type { CorsHeaders } from "../cors.ts";
import { requestIdOf } from "../request-id.ts";
import { encodeStatusMessage } from "../status-message.ts";

/** Answers requests that are not let in, at once and at next to no cost: nothing is read, checked, made or logged. */
export interface Refuse {
  /** Says `OVERLOADED` in the protocol of the request. */
  readonly overloaded: (request: IncomingMessage, response: ServerResponse) => void;
  /** Tells a page of another origin whether it may call, which costs no more than to refuse to. */
  readonly preflight: (request: IncomingMessage, response: ServerResponse) => void;
}

/** What an answer is made of, but for what depends on the request. */
interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Each byte as a character: over HTTP/1, Node writes what is text together with the headers, at half the cost. */
  readonly body?: string;
}

/** The same refusal, in each protocol. */
interface Refusal {
  readonly json: Answer;
  readonly connectStream: Answer;
  readonly grpc: Answer;
}

/** When to call again, in milliseconds: not the same for all, or all would come back at once. */
const delaysMs = [1_000, 1_400, 1_800, 2_200, 2_600, 3_000];

/**
 * Writes down all refusals there can be. Their details lack the request's id, which would make each a different one: it
 * is in `x-request-id`.
 *
 * @param domain of the errors' reasons
 */
export function createRefuse(domain: string, cors: CorsHeaders): Refuse {
  const refusals = delaysMs.map((retryAfterMs) => writeDown(retryAfterMs, domain));
  let turn = 0;
  return {
    overloaded: (request, response) => {
      turn = (turn + 1) % refusals.length;
      const refusal = refusals[turn];
      if (refusal === undefined) return;
      const { status, headers, body } = answerFor(request, refusal);
      send(request, response, {
        status,
        headers: {
          ...headers,
          ...cors.forAnswer(request.headers.origin),
          "x-request-id": requestIdOf(request),
        },
        ...(body !== undefined && { body }),
      });
    },
    preflight: (request, response) =>
      send(request, response, {
        status: 204,
        headers: {
          ...cors.forPreflight(request.headers.origin),
          "x-request-id": requestIdOf(request),
        },
      }),
  };
}

/** Whether a page of another origin asks if it may call. */
export function isPreflight({ method, headers }: IncomingMessage): boolean {
  return (
    method === "OPTIONS" &&
    headers.origin !== undefined &&
    headers["access-control-request-method"] !== undefined
  );
}

function writeDown(retryAfterMs: number, domain: string): Refusal {
  const error = new PublicError("OVERLOADED", undefined, { retryAfterMs });
  const details = errorDetails("OVERLOADED", { requestId: "", domain }, { retryAfterMs });
  error.details = details.filter((detail) => !("desc" in detail) || detail.desc !== RequestInfoSchema);
  const retryAfter = error.metadata.get("retry-after") ?? "";
  const json = errorToJson(error, undefined);
  const body = Buffer.from(JSON.stringify(json));
  const end = Buffer.from(JSON.stringify({ error: json }));
  const status = new Headers();
  setTrailerStatus(status, error);
  return {
    json: {
      status: 503,
      headers: {
        "content-type": "application/json",
        "content-length": String(body.length),
        "retry-after": retryAfter,
      },
      body: body.toString("latin1"),
    },
    // Connect has the status of a stream in its last envelope.
    connectStream: {
      status: 200,
      headers: { "retry-after": retryAfter },
      body: Buffer.from(encodeEnvelope(endStreamFlag, end)).toString("latin1"),
    },
    // gRPC and gRPC-Web take it from headers that are the whole answer.
    grpc: {
      status: 200,
      headers: { ...Object.fromEntries(status), "grpc-message": encodeStatusMessage(error.rawMessage) },
    },
  };
}

function answerFor({ headers }: IncomingMessage, refusal: Refusal): Answer {
  const type = headers["content-type"] ?? "";
  const form = type.startsWith("application/grpc")
    ? refusal.grpc
    : type.startsWith("application/connect+")
      ? refusal.connectStream
      : refusal.json;
  return form === refusal.json ? form : { ...form, headers: { ...form.headers, "content-type": type } };
}

function send(request: IncomingMessage, response: ServerResponse, answer: Answer): void {
  const body = request.method === "HEAD" ? undefined : answer.body;
  if (!("stream" in response)) {
    const length = body === undefined && answer.status !== 204 ? { "content-length": 0 } : undefined;
    response.writeHead(
      answer.status,
      length === undefined ? answer.headers : { ...length, ...answer.headers },
    );
    response.end(body, "latin1");
    return;
  }
  // Past Node's stand-in for an HTTP/1 answer, which writes headers and their end as two frames.
  const stream = response.stream as ServerHttp2Stream;
  // A client that resets a stream at once, without an error, leaves one that is closed and not destroyed.
  if (stream.destroyed || stream.closed || stream.headersSent) return;
  stream.respond({ ...answer.headers, ":status": answer.status }, { endStream: body === undefined });
  if (body !== undefined) stream.end(body, "latin1");
  // What is still to come of the request would only take a place: it is told not to, without waiting for it.
  if (!stream.endAfterHeaders && !stream.readableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
}
