import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, connect, createServer } from "node:net";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Demo, hasProc, isRunning, root, spawnDemo, startDemo } from "./demo.ts";
import { isMissing } from "./program.ts";

// `npx -y pnpm@12 start` and what it and the README tell people to paste.

const run = promisify(execFile);

describe("the demo", () => {
  let demo: Demo;
  beforeAll(async () => {
    demo = await startDemo();
  });
  afterAll(() => demo.end("SIGKILL"));

  test("shows each request with the internal calls that it caused", async () => {
    const headers = { ...(await bearer(demo, "eve")), "content-type": "application/json" };
    const url = `${demo.url}/smpl.api.orders.v1.OrdersService/ListOrdersWithUser`;
    expect((await fetch(url, { method: "POST", headers, body: "{}" })).status).toBe(200);
    await expect
      .poll(demo.output)
      .toMatch(
        /ok +connect +OrdersService\/ListOrdersWithUser.* eve .*orders\.listOrders .* users\.batchGetUsers/,
      );
  });

  describe("tells people to paste", () => {
    const missing = ["bash", "curl"].filter((program) => isMissing(program));
    if (missing.length > 0) {
      test.skip(`needs ${missing.join(" and ")} on the PATH`);
      return;
    }

    test("a token for each role, and lines that work as printed", async () => {
      const tokens = demo.output().match(/^(ADMIN|SUPPORT|VIEWER)=\S+$/gm) ?? [];
      expect(tokens).toHaveLength(3);
      const others = await expectToWork([tokens.join("\n"), ...bannerCommands(demo.output())]);
      expect(others).toEqual([]);
    });

    test("what the README says, line by line", async () => {
      const blocks = readFileSync(`${root}/README.md`, "utf8").matchAll(/```sh call\n(.*?)```/gs);
      const [hidden, matrix, ...others] = await expectToWork(
        [...blocks].map(([, text = ""]) => text.replaceAll("http://127.0.0.1:8080", demo.url)),
      );
      const { orders } = JSON.parse(hidden ?? "");
      expect(orders).toHaveLength(2);
      expect(orders[0]).not.toHaveProperty("userEmail");
      expect(matrix).toContain(readFileSync(`${root}/docs/policy-matrix.txt`, "utf8"));
      expect(others).toEqual([]);
    });
  });
});

describe.each(["npx -y pnpm@12 start", "node examples/demo/start.ts"] as const)("Ctrl-C on %s", (command) => {
  let demo: Demo;
  let processes: number[] | undefined;
  beforeAll(async () => {
    demo = await startDemo(command);
  });
  afterAll(() => demo.end("SIGKILL"));

  test("ends it within about a second, even with a stream open, and leaves no port", async () => {
    const stream = openStream(demo, await bearer(demo, "ada"));
    await expect.poll(async () => text(`${demo.adminUrl}/readyz`)).toContain('"inFlight":1');
    expect(demo.urls).toHaveLength(5);
    processes = demo.processes();
    const asked = performance.now();
    const exitCode = await demo.end("SIGINT");
    for (const url of demo.urls) await expect.poll(() => answers(url)).toBe(false);
    expect(performance.now() - asked).toBeLessThan(1_500);
    // The other command ends by the signal, which is how shells know of a Ctrl-C.
    if (command.startsWith("node")) expect(exitCode).toBe(0);
    expect(await stream).toContain("error");
  });

  test.skipIf(!hasProc && process.env["CI"] !== "true")("leaves no process (needs /proc)", async () => {
    // Itself, the internal services and the gateway.
    expect(processes?.length).toBeGreaterThanOrEqual(3);
    await expect.poll(() => processes?.filter(isRunning)).toEqual([]);
  });
});

describe("the demo on a port that is taken", () => {
  test("says which port, and what to do, and ends", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const { child, output } = spawnDemo({ PORT: String(port) });
    const [exitCode] = await once(child, "exit");
    expect(exitCode).toBe(1);
    expect(output()).toContain(`port ${port} is taken`);
    expect(output()).not.toContain("    at ");
    other.close();
  });
});

/**
 * Expects the same orders from every protocol, then a refusal. The first command only fetches tokens. Resolves to what
 * the commands after these answered.
 */
async function expectToWork(commands: readonly string[]): Promise<string[]> {
  const [json, get, grpc, grpcWeb, sdk, refusal, ...others] = await paste(commands);
  const { orders } = JSON.parse(json ?? "");
  expect(orders).toHaveLength(2);
  expect(orders[0].userEmail).toMatch(/@example\.com$/);
  for (const answer of [get, grpc, grpcWeb]) expect(JSON.parse(answer ?? "").orders).toEqual(orders);
  const lines = orders.map((order: Record<string, string>) =>
    [order["id"], order["userEmail"], order["product"]].join(" "),
  );
  expect(sdk?.trim().split("\n")).toEqual(lines);
  expect(JSON.parse(refusal ?? "").code).toBe("permission_denied");
  return others;
}

/** Runs commands in one shell, as a person pastes them, and returns what each one after the first printed. */
async function paste(commands: readonly string[]): Promise<string[]> {
  const script = commands.join("\necho; echo ----\n");
  const { stdout } = await run("bash", ["-e", "-c", script], { cwd: root, timeout: 60_000 });
  return stdout.split("----\n").slice(1);
}

/** The commands of the banner: what begins with curl or npx, up to the next empty line. */
function bannerCommands(output: string): string[] {
  return output.split("\n\n").flatMap((part) => {
    const command = part.slice(part.indexOf("\n") + 1);
    return /^(curl|npx) /.test(command) ? [command] : [];
  });
}

/** Watches orders to the end, and resolves to all that came. */
async function openStream(demo: Demo, headers: Readonly<Record<string, string>>): Promise<string> {
  const method = `${demo.url}/smpl.api.orders.v1.OrdersService/WatchOrdersWithUser`;
  const init = {
    method: "POST",
    headers: { ...headers, "content-type": "application/connect+json" },
    // An envelope of Connect's: no flags, two bytes.
    body: "\0\0\0\0\x02{}",
  };
  return fetch(method, init)
    .then((answer) => answer.text())
    .catch(() => "error: cut off");
}

async function bearer(demo: Demo, subject: string): Promise<{ authorization: string }> {
  return { authorization: `Bearer ${await text(`${demo.url}/demo/token?sub=${subject}&role=admin`)}` };
}

async function text(url: string): Promise<string> {
  return (await fetch(url)).text();
}

/** Whether anything listens there, whatever it speaks. */
async function answers(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname);
  const found = await once(socket, "connect").then(
    () => true,
    () => false,
  );
  socket.destroy();
  return found;
}
