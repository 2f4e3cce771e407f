import type { MessageInitShape } from "@bufbuild/protobuf";
import { ConnectError } from "@connectrpc/connect";
import type { Code as ToldCode } from "../gen/connectrpc/conformance/v1/config_pb.ts";
import type {
  ErrorSchema,
  Header,
  HeaderSchema,
  Error as ToldError,
} from "../gen/connectrpc/conformance/v1/service_pb.ts";

// Headers and errors, in the messages of the conformance suite and in the classes of the libraries.

const typeUrlPrefix = "type.googleapis.com/";

/** Adds the headers that a test case asks for. */
export function addHeaders(told: readonly Header[], to: Headers): void {
  for (const { name, value } of told) for (const each of value) to.append(name, each);
}

/** The headers that came. */
export function tellHeaders(headers: Headers): MessageInitShape<typeof HeaderSchema>[] {
  return [...headers].map(([name, value]) => ({ name, value: value.split(", ") }));
}

/** The error that came, with its details as they came. */
export function tellError(error: ConnectError): MessageInitShape<typeof ErrorSchema> {
  return {
    code: error.code as number as ToldCode,
    message: error.rawMessage,
    details: error.details.flatMap((detail) =>
      "type" in detail ? [{ typeUrl: `${typeUrlPrefix}${detail.type}`, value: detail.value }] : [],
    ),
  };
}

/** The error that a test case asks for. */
export function errorOf({ code, message, details }: ToldError): ConnectError {
  const error = new ConnectError(message ?? "", code as number);
  error.details = details.map(({ typeUrl, value }) => ({
    type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1),
    value,
  }));
  return error;
}
