import { decodeJwt, decodeProtectedHeader } from "jose";
import { expect, test } from "vitest";
import { thrownBy } from "../testing/call.ts";
import { createAuthenticate } from "./authenticate.ts";
import { createDemoIdentity } from "./demo-identity.ts";

test("its tokens are accepted by its own rules, with their role", async () => {
  const demo = await createDemoIdentity("https://acme.example/roles");
  const token = await demo.token("ada", "admin");
  const headers = new Headers({ authorization: `Bearer ${token}` });
  expect(await createAuthenticate(demo.rules)(headers)).toEqual({
    kind: "authenticated",
    subject: "ada",
    roles: ["admin"],
  });
});

test("its tokens end after an hour", async () => {
  const demo = await createDemoIdentity("roles");
  const { exp = 0, iat = 0 } = decodeJwt(await demo.token("ada", "admin"));
  expect(exp - iat).toBe(3_600);
});

test("its key dies with it: another process does not accept its tokens", async () => {
  const [first, second] = [await createDemoIdentity("roles"), await createDemoIdentity("roles")];
  const headers = new Headers({ authorization: `Bearer ${await first.token("ada", "admin")}` });
  expect(await thrownBy(createAuthenticate(second.rules)(headers))).toMatchObject({
    rawMessage: "The token is not valid.",
  });
});

test("its tokens are signed with an asymmetric key", async () => {
  const demo = await createDemoIdentity("roles");
  expect(decodeProtectedHeader(await demo.token("ada", "admin"))).toEqual({ alg: "ES256" });
});
