import type { ServerResponse } from "node:http";
import { constants, type ServerHttp2Stream } from "node:http2";
import { Code, type ContextValues } from "@connectrpc/connect";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { universalRequestFromNodeRequest } from "@connectrpc/connect-node";
import type { FastifyReply, FastifyRequest } from "fastify";
import { PublicError } from "../errors.ts";
import type { CallRecord } from "../observe/call-record.ts";
import type { ClientCertificate } from "../policy/identity/certificates.ts";
import type { ByteBudget } from "./byte-budget.ts";
import { clientCertificateOf } from "./client-certificate.ts";
import { type FindJsonFault, watchJson } from "./json-fault.ts";
import { createRequestBody } from "./request-body.ts";
import { createStallGuard, inPieces } from "./stall.ts";
import { capTimeOut } from "./time-out.ts";

/** A request and its answer on the wire, as far as the call that they carry has to do with it. */
export interface Exchange {
  readonly record: CallRecord;
  /** The request as the router takes it. */
  readonly request: UniversalServerRequest;
  readonly findJsonFault: FindJsonFault;
  /** The certificate that the caller's connection was made with. */
  readonly certificate: ClientCertificate | undefined;
  /** Puts a header on the answer, whether it is one or an error. */
  readonly setHeader: (name: string, value: string) => void;
  /** A header of the answer, as far as it was put there. */
  readonly headerOf: (name: string) => string | undefined;
  /** The body of the answer, on its way to the caller. */
  readonly answer: (body: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;
  /**
   * Ends the exchange with the call. Once the signal aborts, a body that is still being read fails with the reason, and
   * an answer that its reader stops taking is cut off: after a second if the call's time was over, after half a minute
   * if not.
   */
  readonly endWith: (signal: AbortSignal) => void;
}

const graceMs = { late: 1_000, inTime: 30_000 };

/** What an exchange may take. */
export interface ExchangeLimits {
  /** The most bytes of one message of the request. */
  readonly maxRequestBytes: number;
  /** What the bodies of all requests have to share. */
  readonly inFlightBytes: ByteBudget;
}

/** Takes a request over from Fastify. Throws if it cannot be expressed as a URL and headers. */
export function createExchange(
  { raw: rawRequest }: FastifyRequest,
  reply: FastifyReply,
  record: CallRecord,
  values: ContextValues,
  limits: ExchangeLimits,
): Exchange {
  const { raw: rawReply } = reply;
  const arriving = universalRequestFromNodeRequest(rawRequest, rawReply, undefined, values);
  capTimeOut(arriving.header);
  const contentLength = takeLength(arriving.header);
  // Who stops reading has an answer to give first: that the connection outlives it is the listener's matter.
  const body = createRequestBody(rawRequest.iterator({ destroyOnReturn: false }), {
    contentType: arriving.header.get("content-type") ?? "",
    contentLength,
    maxMessageBytes: limits.maxRequestBytes,
    budget: limits.inFlightBytes,
    record,
  });
  rawReply.once("close", body.release);
  const { request, find } = watchJson({ ...arriving, body: body.messages });
  const guard = createStallGuard(() => {
    record.outcome = Code.Canceled;
    record.reason = "CALLER_LEFT";
    record.error = new Error("the caller stopped taking the answer");
    cutOff(rawReply);
  });
  rawReply.once("close", guard.stop);
  return {
    record,
    request,
    findJsonFault: find,
    certificate: clientCertificateOf(rawRequest),
    setHeader: (name, value) => void reply.header(name, value),
    headerOf: (name) => reply.getHeader(name)?.toString(),
    answer: (body) =>
      inPieces(body, (bytes) => {
        record.responseBytes += bytes;
        guard.progress();
      }),
    endWith: (signal) => {
      const end = () => {
        const late = signal.reason instanceof PublicError;
        if (late) body.interrupt(signal.reason);
        guard.start(late ? graceMs.late : graceMs.inTime);
      };
      if (signal.aborted) end();
      else signal.addEventListener("abort", end, { once: true });
    },
  };
}

/** Over HTTP/2, only a reset tells the caller that the answer is not whole. */
function cutOff(reply: ServerResponse): void {
  if ("stream" in reply) (reply.stream as ServerHttp2Stream).close(constants.NGHTTP2_CANCEL);
  else reply.destroy();
}

/**
 * Takes the length of the body out of the header. The HTTP servers hold clients to it; the router would allocate as much
 * before any of it has come.
 */
function takeLength(header: Headers): number | undefined {
  const given = header.get("content-length");
  header.delete("content-length");
  return given === null ? undefined : Number(given);
}
