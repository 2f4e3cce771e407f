import type { PublicError } from "../../errors.ts";
import { type Authenticated, principalId } from "../principal.ts";
import { unauthenticated } from "./unauthenticated.ts";

/** What a client showed of itself when it connected. */
export interface ClientCertificate {
  /** Whether the client's possession of it was proven, a configured CA signed it for clients, and it had not expired. */
  readonly authorized: boolean;
  /** Why not, in OpenSSL's words, such as `CERT_HAS_EXPIRED`. For the log. */
  readonly problem?: string;
  /** The CN of its subject; absent also if it has several. */
  readonly commonName: string | undefined;
  /** Its alternative names, in Node's notation: `URI:spiffe://acme/billing, DNS:billing.acme.example`. */
  readonly alternativeNames: string | undefined;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

/**
 * Makes a caller of a client certificate. Its name, which is the caller's subject, is the first URI among the
 * alternative names (a SPIFFE id), else the first DNS name, in lower case, else the CN. The CA vouches for all of them,
 * and must give none of them to who asks for another's.
 *
 * A certificate that is not valid is an error, never no certificate. One whose name has no entry is a caller without
 * roles. It gives the same object for the same certificate object, until the access file changes.
 *
 * Names must be plain: what Node had to quote (CVE-2021-44532), wildcards, control characters, a CN in the form of a
 * URI, and several URIs beside a SPIFFE id (which its standard forbids) are refused.
 *
 * Errors: `CREDENTIALS_INVALID`, `CREDENTIALS_EXPIRED`, also for one that expired after the connection began.
 *
 * @param rolesOf gives the access file's `certificates` as they are now: the roles for each name
 * @param options.now milliseconds since 1970; the system's clock by default
 * @example createCertificateVerifier(() => access.current().certificates)
 */
export function createCertificateVerifier(
  rolesOf: () => Readonly<Record<string, readonly string[]>>,
  { now = Date.now }: { readonly now?: () => number } = {},
): (certificate: ClientCertificate) => Authenticated {
  const known = new WeakMap<
    ClientCertificate,
    { readonly from: object; readonly principal: Authenticated }
  >();
  return (certificate) => {
    refuseUnlessValid(certificate, now());
    const from = rolesOf();
    const before = known.get(certificate);
    if (before?.from === from) return before.principal;
    const name = nameOf(certificate);
    // Own properties alone: a name may be "constructor".
    const principal = principalOf(name, Object.hasOwn(from, name) ? (from[name] ?? []) : []);
    known.set(certificate, { from, principal });
    return principal;
  };
}

function refuseUnlessValid({ authorized, problem, expiresAt }: ClientCertificate, now: number): void {
  // Written so that a time which could not be read counts as past.
  const hasExpired = problem === "CERT_HAS_EXPIRED" || (authorized && !(now < expiresAt));
  if (hasExpired)
    throw unauthenticated(
      "CREDENTIALS_EXPIRED",
      "The client certificate has expired.",
      problem ?? "the client certificate expired while its connection was open",
    );
  if (!authorized) throw invalid(problem ?? "it was not verified");
}

function principalOf(subject: string, roles: readonly string[]): Authenticated {
  const issuer = "certificates";
  return Object.freeze<Authenticated>({
    kind: "certificate",
    id: principalId("certificate", issuer, subject),
    subject,
    issuer,
    tenant: undefined,
    roles,
  });
}

const kinds = "DNS|URI|email|IP Address|Registered ID|DirName|othername|X400Name|EdiPartyName";
/** One alternative name as Node writes what needs no quotes; a comma or a quote in it would need them. */
const plainName = new RegExp(`^(${kinds}):([^",]*)$`);
/** RFC 3986: a scheme, and what may stand in a URI. SPIFFE allows 2,048 characters. */
const uriForm = /^(?=.{1,2048}$)[a-z][a-z0-9+.-]*:[\x21-\x7e]+$/i;
const dnsForm = /^(?=.{1,253}$)[a-z0-9_-]+(\.[a-z0-9_-]+)*$/i;
const commonNameForm = /^(?=.{1,256}$)[^\p{C}\p{Z}]([^\p{C}]*[^\p{C}\p{Z}])?$/u;

function nameOf({ commonName, alternativeNames }: ClientCertificate): string {
  const names = readNames(alternativeNames);
  const uris = names.filter(({ kind }) => kind === "URI").map(({ name }) => name);
  if (uris.length > 1 && uris.some((uri) => /^spiffe:/i.test(uri)))
    throw invalid("it has a SPIFFE id and another URI");
  const [uri] = uris;
  if (uri !== undefined) return checked(uri, uriForm);
  const dns = names.find(({ kind }) => kind === "DNS")?.name;
  if (dns !== undefined) return checked(dns, dnsForm).toLowerCase();
  if (commonName === undefined) throw invalid("it has no name");
  if (/^[a-z][a-z0-9+.-]*:\S/i.test(commonName)) throw invalid("its CN has the form of a URI");
  return checked(commonName, commonNameForm);
}

function readNames(text: string | undefined): { readonly kind: string; readonly name: string }[] {
  if (text === undefined || text === "") return [];
  return text.split(", ").map((part) => {
    const [, kind, name] = plainName.exec(part) ?? [];
    if (kind === undefined || name === undefined) throw invalid("it has an odd alternative name");
    return { kind, name };
  });
}

function checked(name: string, form: RegExp): string {
  if (!form.test(name)) throw invalid("it has an odd name");
  return name;
}

function invalid(why: string): PublicError {
  return unauthenticated(
    "CREDENTIALS_INVALID",
    "The client certificate is not valid.",
    `the client certificate was refused: ${why}`,
  );
}
