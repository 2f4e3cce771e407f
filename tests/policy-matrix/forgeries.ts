import {
  type Claims,
  encodePart,
  hs256,
  rs256,
  standardClaims,
  type TestIssuer,
  writeToken,
} from "../issuer.ts";

/** A way to make a token that must not let its bearer in, whatever it says. */
export interface Forgery {
  readonly name: string;
  readonly make: (claims: Claims) => string;
}

/**
 * Every way to forge a token of an issuer that the matrix is tried with.
 *
 * @param hostile somebody else's issuer, which a gateway must never ask for anything
 */
export function forgeriesOf(issuer: TestIssuer, hostile: TestIssuer): readonly Forgery[] {
  const { url, kid } = issuer;
  const now = Math.floor(Date.now() / 1_000);
  const whole = (claims: Claims): Claims => ({ ...standardClaims(url), ...claims });
  const pem = String(issuer.publicKey.export({ type: "spki", format: "pem" }));
  const rs = { alg: "RS256", kid };
  const hostileKey = { ...hostile.publicKey.export({ format: "jwk" }), kid: hostile.kid, alg: "RS256" };
  const signedByHostile = (header: object) => (claims: Claims) =>
    writeToken({ ...rs, ...header }, whole(claims), rs256(hostile.privateKey));
  const signedWithSecret = (header: object, secret: string) => (claims: Claims) =>
    writeToken({ alg: "HS256", kid, ...header }, whole(claims), hs256(secret));
  return [
    { name: "expired", make: (claims) => issuer.token({ ...claims, iat: now - 7_200, exp: now - 3_600 }) },
    { name: "wrong audience", make: (claims) => issuer.token({ ...claims, aud: "another-api" }) },
    { name: "wrong issuer", make: (claims) => issuer.token({ ...claims, iss: hostile.url }) },
    { name: "token of another issuer", make: (claims) => hostile.token(claims) },
    { name: "key of another issuer", make: signedByHostile({}) },
    { name: "alg none", make: (claims) => writeToken({ alg: "none" }, whole(claims), () => Buffer.alloc(0)) },
    {
      name: "alg none beside a signature",
      make: (claims) => writeToken({ alg: "none", kid }, whole(claims), rs256(issuer.privateKey)),
    },
    { name: "HS256 with the public key as the secret", make: signedWithSecret({}, pem) },
    { name: "unknown kid", make: (claims) => issuer.token(claims, { kid: "unknown" }) },
    { name: "kid that is a path", make: signedWithSecret({ kid: "../../../../../../dev/null" }, "") },
    { name: "kid that is SQL", make: signedWithSecret({ kid: "x' UNION SELECT 'secret' -- " }, "secret") },
    { name: "jku", make: signedByHostile({ kid: hostile.kid, jku: `${hostile.url}/keys` }) },
    { name: "x5u", make: signedByHostile({ kid: hostile.kid, x5u: `${hostile.url}/keys` }) },
    { name: "jwk", make: signedByHostile({ kid: hostile.kid, jwk: hostileKey }) },
    {
      name: "tampered payload",
      make: (claims) => {
        const [header, , signature] = issuer.token({ ...claims, roles: [] }).split(".");
        return [header, encodePart(whole({ ...claims, tampered: true })), signature].join(".");
      },
    },
  ];
}
