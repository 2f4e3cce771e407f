import { generateKeyPair, SignJWT } from "jose";
import type { TokenRules } from "./authenticate.ts";

/** An issuer of tokens inside the gateway, for trying it out. Whoever can reach it can be anyone. */
export interface DemoIdentity {
  readonly rules: TokenRules;
  /** A token for an hour. */
  readonly token: (subject: string, role: string) => Promise<string>;
}

/** Creates the demo's issuer. Its key lives and dies with the process. */
export async function createDemoIdentity(rolesClaim: string): Promise<DemoIdentity> {
  const { publicKey, privateKey } = await generateKeyPair("ES256");
  // Short, since people paste these tokens.
  const issuer = "demo";
  const audience = "demo";
  return {
    rules: { issuer, audience, rolesClaim, key: async () => publicKey },
    token: (subject, role) =>
      new SignJWT({ [rolesClaim]: [role] })
        .setProtectedHeader({ alg: "ES256" })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(subject)
        .setIssuedAt()
        .setExpirationTime("1h")
        .sign(privateKey),
  };
}
