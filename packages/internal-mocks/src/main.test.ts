import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { afterEach, describe, expect, it } from "vitest";
import { UsersService } from "./gen/smpl/users/v1/users_service_pb.ts";

const main = `${import.meta.dirname}/main.ts`;
const anyPorts = { USERS_PORT: "0", ORDERS_PORT: "0", INVENTORY_PORT: "0" };
const children: ChildProcess[] = [];

afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

function run(env: Record<string, string>) {
  const child = spawn(process.execPath, [main], {
    env: { ...anyPorts, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  children.push(child);
  let output = "";
  let errors = "";
  child.stdout.on("data", (text) => (output += text));
  child.stderr.on("data", (text) => (errors += text));
  const exited = once(child, "close").then(([code, signal]) => ({ code, signal, output, errors }));
  const ready = new Promise<string>((resolve) => {
    child.stdout.on("data", () => output.split("\n").length > 3 && resolve(output));
  });
  return { child, ready, exited };
}

describe("the program", () => {
  it.each(["SIGINT", "SIGTERM"] as const)(
    "says where it listens, serves, and ends at once on %s",
    async (signal) => {
      const program = run({ MOCK_USERS: "1000000", MOCK_ORDERS: "1000000", MOCK_ITEMS: "1000000" });
      const lines = (await program.ready).trimEnd().split("\n");
      expect(lines).toEqual([
        expect.stringMatching(/^users {5}gRPC {2}http:\/\/127\.0\.0\.1:\d+ {2}1,000,000 users$/),
        expect.stringMatching(/^orders {4}gRPC {2}http:\/\/127\.0\.0\.1:\d+ {2}1,000,000 orders$/),
        expect.stringMatching(/^inventory gRPC {2}http:\/\/127\.0\.0\.1:\d+ {2}1,000,000 items$/),
      ]);
      const baseUrl = lines[0]?.split(/\s+/)[2] ?? "";
      const client = createClient(UsersService, createGrpcTransport({ baseUrl }));
      expect((await client.getUser({ id: "user-1000000" })).user?.email).toMatch(/\.1000000@example\.com$/);
      const before = performance.now();
      program.child.kill(signal);
      expect(await program.exited).toMatchObject({ code: 0, errors: "" });
      expect(performance.now() - before).toBeLessThan(1_000);
    },
  );

  it("reports every bad variable at once", async () => {
    const { code, errors, output } = await run({ MOCK_USERS: "many", USERS_PORT: "x", MOCK_ITEMS: "-1" })
      .exited;
    expect([code, output]).toEqual([1, ""]);
    expect(
      errors
        .trimEnd()
        .split("\n")
        .map((line) => line.split(" ")[0]),
    ).toEqual(["MOCK_USERS", "MOCK_ITEMS", "USERS_PORT"]);
  });

  it("says in one line which port is taken and which variable sets it", async () => {
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    const port = typeof address === "object" && address !== null ? String(address.port) : "";
    const { code, errors } = await run({ ORDERS_PORT: port }).exited;
    server.close();
    expect(code).toBe(1);
    expect(errors).toBe(
      `ORDERS_PORT: port ${port} is taken on 127.0.0.1; stop what uses it or give another port\n`,
    );
  });

  it("says in one line that a host is none of this machine", async () => {
    const { code, errors } = await run({ MOCK_HOST: "192.0.2.1" }).exited;
    expect([code, errors.split("\n").length]).toEqual([1, 2]);
    expect(errors).toMatch(/^MOCK_HOST: .*192\.0\.2\.1/);
  });

  it("tells who forked it that it is ready, and ends when that one goes", async () => {
    const child = fork(main, { env: anyPorts, silent: true, execArgv: [] });
    children.push(child);
    expect((await once(child, "message"))[0]).toEqual({
      users: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      orders: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
      inventory: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+$/),
    });
    child.disconnect();
    expect((await once(child, "exit"))[0]).toBe(0);
  });
});
