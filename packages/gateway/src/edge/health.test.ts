import { fastify } from "fastify";
import { expect, test } from "vitest";
import { serveHealth } from "./health.ts";

test("a gateway that is ready says so", async () => {
  expect(await ask([], "/readyz")).toEqual({ status: 200, body: { status: "ready" } });
});

test("the public learns that it is not, and no more", async () => {
  expect(await ask(["the upstream crates is unreachable"], "/readyz")).toEqual({
    status: 503,
    body: { status: "not ready" },
  });
});

test("the admin port says what it lacks, with details", async () => {
  expect(await ask(["the upstream crates is unreachable"], "/readyz", () => ({ inFlight: 3 }))).toEqual({
    status: 503,
    body: { status: "not ready", lacks: ["the upstream crates is unreachable"], inFlight: 3 },
  });
});

test("a gateway that is not ready is still alive", async () => {
  expect(await ask(["the gateway is stopping"], "/healthz")).toEqual({ status: 200, body: { status: "ok" } });
});

async function ask(lacks: readonly string[], url: string, details?: () => object) {
  const app = fastify();
  serveHealth(app, { lacks: () => lacks }, details);
  const answer = await app.inject({ url });
  await app.close();
  return { status: answer.statusCode, body: answer.json() };
}
