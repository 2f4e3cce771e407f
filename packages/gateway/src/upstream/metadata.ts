import type { Call } from "../call.ts";
import { identityHeaders } from "./identity.ts";
import type { UpstreamDeclaration } from "./upstream.ts";

/** What goes along with a call besides its request id and what its upstream is told about the caller. */
export interface MetadataParts {
  /** The gateway's own credentials. */
  readonly token: string | undefined;
  /** The context of the trace. */
  readonly trace: Readonly<Record<string, string>>;
}

/** What is the same for all attempts of a call. A list of what is sent, not of what is held back. */
export function metadataOf(
  { identity }: UpstreamDeclaration,
  call: Call,
  { token, trace }: MetadataParts,
): Readonly<Record<string, string>> {
  return {
    ...trace,
    "x-request-id": call.requestId,
    ...identityHeaders(identity, call.principal),
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  };
}

/**
 * The headers of one attempt. By gRPC's own header, the upstream learns that there were others.
 *
 * @param previous how many attempts were sent before
 */
export function headersOf(metadata: Readonly<Record<string, string>>, previous: number): Headers {
  const headers = new Headers(metadata);
  if (previous > 0) headers.set("grpc-previous-rpc-attempts", String(previous));
  return headers;
}
