import { type Authenticated, principalId } from "../policy/principal.ts";

/** A caller with a token. */
export function authenticated(subject: string, ...roles: readonly string[]): Authenticated {
  const issuer = "https://id.example.com";
  return {
    kind: "token",
    id: principalId("token", issuer, subject),
    subject,
    issuer,
    tenant: undefined,
    roles,
  };
}
