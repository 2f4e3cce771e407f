import { generateKeyPair, SignJWT } from "jose";
import type { Config } from "../../config.ts";
import type { Issuer } from "./tokens.ts";

/** An issuer of tokens inside the gateway, for trying it out. Whoever can reach it can be anyone. */
export interface DemoIdentity {
  readonly issuer: Issuer;
  /** A token for an hour. */
  readonly token: (subject: string, role: string) => Promise<string>;
}

/** Creates the demo's issuer. Its key lives and dies with the process. */
export async function createDemoIdentity({ claims }: Pick<Config, "claims">): Promise<DemoIdentity> {
  const { publicKey, privateKey } = await generateKeyPair("ES256");
  // Short, since people paste these tokens.
  const [issuer, audience] = ["demo", "demo"];
  return {
    issuer: {
      issuer,
      audience,
      claims: { roles: claims.roles, subject: "sub" },
      keys: { find: async () => publicKey, epoch: () => 1, warm: async () => {} },
    },
    token: (subject, role) =>
      new SignJWT({ [claims.roles]: [role] })
        .setProtectedHeader({ alg: "ES256" })
        .setIssuer(issuer)
        .setAudience(audience)
        .setSubject(subject)
        .setIssuedAt()
        .setExpirationTime("1h")
        .sign(privateKey),
  };
}
