import { decodeJwt, decodeProtectedHeader } from "jose";
import { expect, test } from "vitest";
import { thrownBy } from "../../testing/call.ts";
import { createDemoIdentity } from "./demo-identity.ts";
import { createTokenVerifier } from "./tokens.ts";

const config = { claims: { roles: "https://acme.example/roles", subject: "sub" } };

test("its tokens are accepted by its own rules, with their role", async () => {
  const demo = await createDemoIdentity(config);
  const verify = createTokenVerifier([demo.issuer]);
  expect(await verify(await demo.token("ada", "admin"))).toMatchObject({
    kind: "token",
    subject: "ada",
    roles: ["admin"],
  });
});

test("its tokens end after an hour", async () => {
  const demo = await createDemoIdentity(config);
  const { exp = 0, iat = 0 } = decodeJwt(await demo.token("ada", "admin"));
  expect(exp - iat).toBe(3_600);
});

test("its key dies with it: another process does not accept its tokens", async () => {
  const [first, second] = [await createDemoIdentity(config), await createDemoIdentity(config)];
  const token = await first.token("ada", "admin");
  expect(await thrownBy(createTokenVerifier([second.issuer])(token))).toMatchObject({
    rawMessage: "The token is not valid.",
  });
});

test("its tokens are signed with an asymmetric key", async () => {
  const demo = await createDemoIdentity(config);
  expect(decodeProtectedHeader(await demo.token("ada", "admin"))).toEqual({ alg: "ES256" });
});
