import { Code } from "@connectrpc/connect";
import { PublicError, publicText } from "../../errors.ts";
import type { ServerReflectionRequest } from "../../gen/grpc/reflection/v1/reflection_pb.ts";
import type { ServerReflectionRequest as AlphaRequest } from "../../gen/grpc/reflection/v1alpha/reflection_pb.ts";
import type { ServedFile } from "./served-file.ts";
import type { Slice } from "./slice.ts";

/** What a client asks; the two versions of the protocol are the same but for the names of their types. */
export type Question = ServerReflectionRequest["messageRequest"] | AlphaRequest["messageRequest"];

/** What it is answered. */
export type Reply =
  | {
      readonly case: "listServicesResponse";
      readonly value: { readonly service: { readonly name: string }[] };
    }
  | {
      readonly case: "fileDescriptorResponse";
      readonly value: { readonly fileDescriptorProto: Uint8Array<ArrayBuffer>[] };
    }
  | {
      readonly case: "allExtensionNumbersResponse";
      readonly value: { readonly baseTypeName: string; readonly extensionNumber: number[] };
    }
  | {
      readonly case: "errorResponse";
      readonly value: { readonly errorCode: number; readonly errorMessage: string };
    };

/** How much is said in one conversation. */
export interface ConversationLimits {
  readonly questions: number;
  /** The files of one answer, in bytes. */
  readonly answerBytes: number;
  /** The files of all answers, in bytes. */
  readonly totalBytes: number;
}

/** As much as the largest of APIs needs. */
export const defaultConversationLimits: ConversationLimits = {
  questions: 1_000,
  answerBytes: 2 ** 20,
  totalBytes: 16 * 2 ** 20,
};

/**
 * Answers the questions of one stream from one slice of the API. A file that was sent before is not sent along again.
 *
 * The returned function throws `resource_exhausted` when the client has asked for more than is said in one conversation.
 */
export function createConversation(
  slice: Slice,
  limits: ConversationLimits = defaultConversationLimits,
): (question: Question) => Reply {
  const sent = new Set<ServedFile>();
  let questions = 0;
  let bytes = 0;

  function fileReply(name: string | undefined, asked: string): Reply {
    const file = name === undefined ? undefined : slice.files.get(name);
    if (file === undefined) return refusal(Code.NotFound, `There is no ${asked}.`);
    const files = withImports(file, slice, sent, limits.answerBytes);
    for (const each of files) {
      sent.add(each);
      bytes += each.bytes.length;
    }
    return {
      case: "fileDescriptorResponse",
      value: { fileDescriptorProto: files.map((each) => each.bytes) },
    };
  }

  function reply(question: Question): Reply {
    switch (question.case) {
      case "listServices":
        return {
          case: "listServicesResponse",
          value: { service: slice.services.map((name) => ({ name })) },
        };
      case "fileByFilename":
        return fileReply(question.value, `file ${question.value}`);
      case "fileContainingSymbol":
        return fileReply(slice.symbols.get(question.value), `symbol ${question.value}`);
      case "fileContainingExtension":
        // The gateway passes no extensions on.
        return refusal(
          Code.NotFound,
          `There is no extension ${question.value.extensionNumber} of ${question.value.containingType}.`,
        );
      case "allExtensionNumbersOfType":
        if (!slice.messages.has(question.value))
          return refusal(Code.NotFound, `There is no message ${question.value}.`);
        return {
          case: "allExtensionNumbersResponse",
          value: { baseTypeName: question.value, extensionNumber: [] },
        };
      case undefined:
        return refusal(Code.InvalidArgument, "The request asks for nothing: set one of its fields.");
    }
  }

  return (question) => {
    questions += 1;
    if (questions > limits.questions || bytes > limits.totalBytes)
      throw new PublicError("RATE_LIMIT_EXCEEDED", "Too much was asked in one stream. Begin another.", {
        metadata: { limit: "stream" },
      });
    return reply(question);
  };
}

/**
 * A file, and what it imports, however far away, as far as that was not sent before and fits one answer. A client asks for
 * what it misses.
 */
function withImports(
  file: ServedFile,
  { files }: Slice,
  sent: ReadonlySet<ServedFile>,
  maxBytes: number,
): readonly ServedFile[] {
  const found = new Set([file]);
  let bytes = file.bytes.length;
  // A set that grows while it is walked is walked to its end.
  for (const { imports } of found) {
    for (const each of imports.flatMap((name) => files.get(name) ?? [])) {
      if (found.has(each) || sent.has(each) || bytes + each.bytes.length > maxBytes) continue;
      found.add(each);
      bytes += each.bytes.length;
    }
  }
  return [...found];
}

function refusal(code: Code, message: string): Reply {
  return { case: "errorResponse", value: { errorCode: code, errorMessage: publicText(message) } };
}
