import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { clientCertificateOf } from "../client-certificate.ts";

/** Who is let in first when not all can be. */
export type CallerClass = "known" | "anonymous";

/** Whose request it is, as far as that can be told at no cost. */
export interface Caller {
  readonly kind: CallerClass;
  /** The same for all requests of one caller: who it has proved to be; of those who have not, its address. */
  readonly key: string;
}

/** Tells callers apart before anything of their request was checked. */
export interface Callers {
  readonly of: (request: IncomingMessage) => Caller;
  /**
   * Whoever sent this request has proved who it is. Only then its credentials count: anyone can send a header, and a
   * flood of invented tokens must not pass for so many good callers.
   */
  readonly recognise: (request: IncomingMessage, identity: string) => void;
  /** The credentials of this request are not good any more. */
  readonly forget: (request: IncomingMessage) => void;
}

/** Characters of credentials and identities that are remembered, in each of two generations: those of some thousand callers. */
const generationSize = 4 * 2 ** 20;

export function createCallers(): Callers {
  // Whose the credentials are: who has many of them is still one caller.
  let [recent, older, size] = [new Map<string, string>(), new Map<string, string>(), 0];
  return {
    of: (request) => {
      const credentials = credentialsOf(request);
      const identity =
        credentials === undefined ? undefined : (recent.get(credentials) ?? older.get(credentials));
      if (identity !== undefined) return { kind: "known", key: identity };
      const certified = certifiedName(request);
      if (certified !== undefined) return { kind: "known", key: certified };
      return { kind: "anonymous", key: addressOf(request) };
    },
    recognise: (request, identity) => {
      const credentials = credentialsOf(request);
      if (credentials === undefined || recent.has(credentials)) return;
      recent.set(credentials, identity);
      size += credentials.length + identity.length;
      // Who still calls is recognised anew before its generation is forgotten.
      if (size > generationSize) [older, recent, size] = [recent, new Map(), 0];
    },
    forget: (request) => {
      const credentials = credentialsOf(request);
      if (credentials === undefined) return;
      for (const generation of [recent, older]) generation.delete(credentials);
    },
  };
}

function credentialsOf({ headers }: IncomingMessage): string | undefined {
  const key = headers["x-api-key"];
  return headers.authorization ?? (typeof key === "string" ? key : undefined);
}

/** Who the connection belongs to, if its certificate was checked by TLS already. */
function certifiedName(request: IncomingMessage): string | undefined {
  const certificate = clientCertificateOf(request);
  if (certificate?.authorized !== true) return undefined;
  return certificate.alternativeNames ?? certificate.commonName;
}

/** Of the other end of the connection: behind a proxy, all who come through it have one. */
function addressOf(request: IncomingMessage): string {
  // Of HTTP/2, a stand-in that may be gone.
  const socket: Socket | undefined = request.socket;
  return socket?.remoteAddress ?? "";
}
