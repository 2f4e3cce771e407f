import { X509Certificate } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Http2ServerRequest, ServerHttp2Session } from "node:http2";
import type { Socket } from "node:net";
import { type PeerCertificate, TLSSocket } from "node:tls";
import type { ClientCertificate } from "../policy/identity/certificates.ts";

/**
 * The certificate of the client that a request comes from, HTTP/1.1 or HTTP/2; `undefined` if the client showed none,
 * or none was asked for. Read once for each connection, and the same object for all its requests.
 *
 * A certificate that was not accepted is given too, not `authorized`. So is one for a connection that is gone before it
 * was read: whose request that was can no longer be known, and it must not pass for one without a certificate.
 *
 * @example const certificate = clientCertificateOf(request.raw);
 */
export function clientCertificateOf(request: IncomingMessage): ClientCertificate | undefined {
  const connection = connectionOf(request);
  if (connection === undefined) return gone;
  if (known.has(connection)) return known.get(connection);
  const certificate = read(connection);
  if (certificate !== gone) known.set(connection, certificate);
  return certificate;
}

/**
 * What is wrong with the text that a listener was given as `clientCa`; `undefined` if nothing is. Node itself skips
 * what it cannot read, takes an empty text for the CAs of the whole world, and trusts no CA without its root.
 *
 * @returns words that follow the name of a setting: `must be ...`
 */
export function clientCaProblem(pem: string): string | undefined {
  const wanted =
    "must be the certificates of one or more CAs in PEM, each with those above it up to the root";
  const blocks = pem.match(/-----BEGIN [^-]+-----[^-]*(-----END [^-]+-----)?/g) ?? [];
  if (blocks.length === 0) return `${wanted}: it has none`;
  const certificates = blocks.map(readBlock);
  const problems = certificates.flatMap((certificate, index) => {
    const problem = typeof certificate === "string" ? certificate : caProblem(certificate, certificates);
    return problem === undefined ? [] : [`number ${index + 1} ${problem}`];
  });
  return problems.length === 0 ? undefined : `${wanted}: ${problems.join(", ")}`;
}

/** Of HTTP/1.1 the socket. Of HTTP/2 the session, whose `socket` is a stand-in. */
type Connection = Socket | ServerHttp2Session;

const known = new WeakMap<Connection, ClientCertificate | undefined>();

const gone: ClientCertificate = Object.freeze({
  authorized: false,
  problem: "the connection is gone",
  commonName: undefined,
  alternativeNames: undefined,
  expiresAt: 0,
});

function connectionOf(request: IncomingMessage): Connection | undefined {
  if (!("stream" in request)) return request.socket;
  // See createH2: it is really one of these. A stream that has ended has no session.
  return (request as unknown as Http2ServerRequest).stream.session as ServerHttp2Session | undefined;
}

function read(connection: Connection): ClientCertificate | undefined {
  if (connection.destroyed) return gone;
  const socket = "socket" in connection ? connection.socket : connection;
  // True of the stand-in as well.
  if (!(socket instanceof TLSSocket)) return undefined;
  // `authorized` alone says nothing: Node also sets it for resumed sessions of clients that never had a certificate.
  // Null, unlike what the type says, when the connection has closed; an empty object if there is none.
  const certificate: Partial<PeerCertificate> | null = socket.getPeerCertificate();
  if (certificate === null) return gone;
  return certificate.raw === undefined ? undefined : toClientCertificate(certificate, socket);
}

function toClientCertificate(certificate: Partial<PeerCertificate>, socket: TLSSocket): ClientCertificate {
  const { subject, subjectaltname, valid_to = "" } = certificate;
  // A list, unlike what the type says, if there are several.
  const commonName: unknown = subject?.CN;
  const problem = socket.authorized ? undefined : String(socket.authorizationError);
  return Object.freeze<ClientCertificate>({
    authorized: socket.authorized,
    ...(problem !== undefined && { problem }),
    commonName: typeof commonName === "string" ? commonName : undefined,
    alternativeNames: subjectaltname,
    expiresAt: Date.parse(valid_to),
  });
}

/** The certificate, or what is wrong with the block. */
function readBlock(block: string): X509Certificate | string {
  if (!/^-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----$/.test(block))
    return "is no whole certificate";
  try {
    return new X509Certificate(block);
  } catch {
    return "cannot be read";
  }
}

function caProblem(
  certificate: X509Certificate,
  all: readonly (X509Certificate | string)[],
): string | undefined {
  if (isSelfSigned(certificate) && (certificate.ca || !maySign(certificate))) return undefined;
  if (!certificate.ca) return "is not that of a CA";
  const hasIssuer = all.some((other) => typeof other !== "string" && isIssuedBy(certificate, other));
  if (hasIssuer) return undefined;
  return `was signed by a CA that is missing: add the certificate of ${JSON.stringify(certificate.issuer)}`;
}

/**
 * Whether OpenSSL may take what the key of a self-signed certificate signed. It does so for one of version 1, and for others
 * that do not say that they are no CA: only a key usage without signing rules it out. A client that has it vouches for itself
 * alone, and may be trusted by its certificate.
 */
function maySign(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate);
}

/** Unlike `checkIssued`, whatever the key may be used for. */
function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.subject === certificate.issuer && certificate.verify(certificate.publicKey);
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
