import {
  type DescMessage,
  type DescMethodServerStreaming,
  type DescMethodUnary,
  fromJson,
  type JsonObject,
  type JsonValue,
  toJson,
} from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";

/** Where to call. */
export interface Target {
  readonly url: string;
  /** PEM of who signed the server's certificate, for `https:`. */
  readonly ca?: string | undefined;
}

/** A unary call, in no protocol's form. */
export interface UnaryCall {
  readonly method: DescMethodUnary;
  readonly request: JsonObject;
  readonly headers: Readonly<Record<string, string>>;
}

/** What came of a call: the message as canonical JSON, or an error. */
export type Answer = Success | Refusal;

interface Success {
  readonly code: "ok";
  readonly message: JsonValue;
}

export interface Refusal {
  /** As Connect writes it: `not_found`. */
  readonly code: string;
  readonly message: string;
  /** The answer's `x-request-id`, if the client shows it. */
  readonly requestId: string | undefined;
}

/** One way to make a unary call: a client, a protocol, a codec and a version of HTTP. */
export interface Way {
  readonly name: string;
  /** The program that it takes, if that is no package of ours. */
  readonly program?: string;
  /** Calls that this way cannot make, such as a GET of a method that changes something. */
  readonly cannot?: (call: UnaryCall) => boolean;
  /** Makes one call on a connection of its own. */
  readonly call: (target: Target, call: UnaryCall) => Promise<Answer>;
}

/** A call that is answered by a stream. */
export interface StreamCall {
  readonly method: DescMethodServerStreaming;
  readonly request: JsonObject;
  readonly headers: Readonly<Record<string, string>>;
  /** Ends the call. */
  readonly signal: AbortSignal;
  readonly timeoutMs?: number;
}

/** One way to read a stream. Its messages are canonical JSON, its errors are {@link Refused}. */
export interface StreamWay {
  readonly name: string;
  readonly watch: (target: Target, call: StreamCall) => AsyncIterable<JsonValue>;
}

/** How a stream ends that fails. */
export class Refused extends Error {
  readonly answer: Refusal;

  constructor(answer: Refusal) {
    super(`${answer.code}: ${answer.message}`);
    this.answer = answer;
  }
}

/** JSON as it comes from a client, in the one form that all are compared in. */
export function canonical(schema: DescMessage, json: JsonValue): JsonValue {
  return toJson(schema, fromJson(schema, json));
}

/** `Code.NotFound` is `not_found`, as on the wire. */
export function nameOf(code: Code): string {
  return Code[code].replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
}

/** `/package.Service/Method` */
export function pathOf({ parent, name }: DescMethodUnary | DescMethodServerStreaming): string {
  return `/${parent.typeName}/${name}`;
}
