import { fromBinary, fromJsonString } from "@bufbuild/protobuf";
import type { Input } from "./inputs.ts";
import type { Reply } from "./wire.ts";

/** Refusals that are true: not made for it, not now, not in time. */
const honest: ReadonlySet<number> = new Set([501, 503, 504]);

/** The gRPC codes that say that the gateway itself is at fault: unknown, internal, data_loss. */
const faults: ReadonlySet<string> = new Set(["2", "13", "15"]);

/** What is wrong with the reply to an input; `undefined` if nothing is. */
export function judge(input: Input, reply: Reply): string | undefined {
  if (reply.kind === "closed") return undefined;
  if (reply.kind === "silence") return isWhole(input) ? "no answer" : undefined;
  const { status, headers, body } = reply;
  if (status >= 500) return honest.has(status) ? undefined : `answered ${status}: ${body.toString("utf8")}`;
  if (status !== 200) return undefined;
  if (headers["content-type"]?.startsWith("application/grpc") === true) return judgeGrpc(headers, body);
  if (input.body === undefined) return judgeOk(headers, body);
  return isReadable(input.body) ? judgeOk(headers, body, input.body) : "answered 200 to what cannot be read";
}

/** Whether the gateway has all that it needs for an answer. */
function isWhole({ kind }: Input): boolean {
  return kind === "json" || kind === "proto" || kind === "path" || kind === "get";
}

function judgeGrpc(headers: Readonly<Record<string, string>>, body: Buffer): string | undefined {
  const trailers = headers["grpc-status"] ?? /grpc-status: ?(\d+)/.exec(body.toString("latin1"))?.[1];
  if (trailers === undefined) return "an answer without a status";
  return faults.has(trailers) ? `grpc-status ${trailers}: ${body.toString("latin1")}` : undefined;
}

/** An answer that says that all is well must have an answer in it. */
function judgeOk(
  headers: Readonly<Record<string, string>>,
  body: Buffer,
  asked?: Input["body"],
): string | undefined {
  try {
    if (headers["content-type"] === "application/json") {
      if (asked === undefined) JSON.parse(body.toString("utf8"));
      else fromJsonString(asked.method.output, body.toString("utf8"));
    } else if (headers["content-type"] === "application/proto" && asked !== undefined)
      fromBinary(asked.method.output, body);
    else if (body.length === 0 && headers["content-type"] !== "application/proto") return "an empty answer";
    return undefined;
  } catch (error) {
    return `an answer that cannot be read: ${error}`;
  }
}

function isReadable({ method, format, bytes }: NonNullable<Input["body"]>): boolean {
  try {
    if (format === "proto") fromBinary(method.input, bytes);
    else fromJsonString(method.input, new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    return true;
  } catch {
    return false;
  }
}
