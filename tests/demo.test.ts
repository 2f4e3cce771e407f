import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify, stripVTControlCharacters } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

// `pnpm start` and what it and the README tell people to paste.

const root = fileURLToPath(new URL("..", import.meta.url));
const run = promisify(execFile);

describe("the demo", () => {
  let demo: Demo;
  beforeAll(async () => {
    demo = await startDemo();
  });
  afterAll(() => demo.end("SIGKILL"));

  it("prints a token for each role, and lines that work as printed", async () => {
    const tokens = demo.output().match(/^(ADMIN|SUPPORT|VIEWER)=\S+$/gm) ?? [];
    expect(tokens).toHaveLength(3);
    const answers = await paste([tokens.join("\n"), ...bannerCommands(demo.output())]);
    const [json, get, grpc, grpcWeb, sdk, refusal] = answers;
    expect(answers).toHaveLength(6);
    const orders = JSON.parse(json ?? "").orders;
    expect(orders).toHaveLength(2);
    expect(orders[0].userEmail).toMatch(/@example\.com$/);
    expect(JSON.parse(get ?? "").orders).toEqual(orders);
    expect(JSON.parse(grpc ?? "").orders).toEqual(orders);
    expect(JSON.parse(grpcWeb ?? "").orders).toEqual(orders);
    expect(sdk?.trim().split("\n")[0]).toBe(`${orders[0].id} ${orders[0].userEmail} ${orders[0].product}`);
    expect(JSON.parse(refusal ?? "").code).toBe("permission_denied");
  });

  it("keeps what the README promises, line by line", async () => {
    const blocks = readFileSync(`${root}/README.md`, "utf8").matchAll(/```sh call\n(.*?)```/gs);
    const commands = [...blocks].map(([, text = ""]) =>
      text.replaceAll("127.0.0.1:8080", `127.0.0.1:${demo.ports.PORT}`),
    );
    const answers = await paste(commands);
    const [json, get, grpc, grpcWeb, sdk, refusal] = answers;
    expect(answers).toHaveLength(6);
    const orders = JSON.parse(json ?? "").orders;
    for (const answer of [get, grpc, grpcWeb]) expect(JSON.parse(answer ?? "").orders).toEqual(orders);
    expect(sdk?.trim().split("\n")).toHaveLength(2);
    expect(JSON.parse(refusal ?? "").code).toBe("permission_denied");
  });

  it("shows each request with the internal calls that it caused", async () => {
    await paste([`T=$(curl -s '${demo.url}/demo/token?sub=eve&role=admin')`, list(demo.url)]);
    await eventually(() =>
      /ok +connect +OrdersService\/ListOrdersWithUser.* eve .*orders\.listOrders .* users\.batchGetUsers/.test(
        demo.output(),
      ),
    );
  });

  it("ends on Ctrl-C within a second, and leaves no process and no port, even with a stream open", async () => {
    const token = await (await fetch(`${demo.url}/demo/token?sub=ada&role=admin`)).text();
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/connect+json" };
    const method = `${demo.url}/smpl.api.orders.v1.OrdersService/WatchOrdersWithUser`;
    // An envelope of Connect's: no flags, two bytes.
    const stream = fetch(method, { method: "POST", headers, body: "\0\0\0\0\x02{}" })
      .then((answer) => answer.text())
      .catch(() => "error: cut off");
    await eventually(async () =>
      (await (await fetch(`http://127.0.0.1:${demo.ports.ADMIN_PORT}/readyz`)).text()).includes(
        '"inFlight":1',
      ),
    );
    const children = await childrenOf(demo.pid);
    expect(children).toHaveLength(2);
    const asked = performance.now();
    const exitCode = await demo.end("SIGINT");
    expect(performance.now() - asked).toBeLessThan(1_000);
    expect(exitCode).toBe(0);
    for (const pid of children) expect(() => process.kill(pid, 0)).toThrow("ESRCH");
    for (const port of Object.values(demo.ports))
      await expect(fetch(`http://127.0.0.1:${port}/`)).rejects.toThrow();
    expect(await stream).toContain("error");
  });
});

describe("the demo on a port that is taken", () => {
  it("says which port, and what to do, and ends", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    const demo = spawnDemo({ ...(await freePorts()), PORT: String(port) });
    const [exitCode] = await once(demo.child, "exit");
    expect(exitCode).toBe(1);
    expect(demo.output()).toContain(`port ${port} is taken`);
    expect(demo.output()).not.toContain("    at ");
    other.close();
  });
});

interface Demo {
  readonly pid: number;
  readonly url: string;
  readonly ports: Awaited<ReturnType<typeof freePorts>>;
  readonly output: () => string;
  readonly end: (signal: NodeJS.Signals) => Promise<number | null>;
}

async function startDemo(): Promise<Demo> {
  const ports = await freePorts();
  const { child, output } = spawnDemo(ports);
  await eventually(() => output().includes("Ctrl-C stops everything"));
  return {
    pid: child.pid ?? 0,
    url: `http://127.0.0.1:${ports.PORT}`,
    ports,
    output,
    end: async (signal) => {
      if (child.exitCode !== null) return child.exitCode;
      child.kill(signal);
      await once(child, "exit");
      return child.exitCode;
    },
  };
}

function spawnDemo(ports: Record<string, string>) {
  const child = spawn(process.execPath, ["examples/demo/start.ts"], {
    cwd: root,
    env: { ...process.env, ...ports },
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
  return { child, output: () => stripVTControlCharacters(text) };
}

async function freePorts() {
  const names = ["PORT", "ADMIN_PORT", "USERS_PORT", "ORDERS_PORT", "INVENTORY_PORT"] as const;
  const servers = names.map((name) => ({ name, server: createServer().listen(0, "127.0.0.1") }));
  await Promise.all(servers.map(({ server }) => once(server, "listening")));
  const ports = servers.map(({ name, server }) => [name, String((server.address() as AddressInfo).port)]);
  for (const { server } of servers) server.close();
  return Object.fromEntries(ports) as Record<(typeof names)[number], string>;
}

/** The commands of the banner: what begins with curl or npx, up to the next empty line. */
function bannerCommands(output: string): string[] {
  return output.split("\n\n").flatMap((part) => {
    const command = part.slice(part.indexOf("\n") + 1);
    return /^(curl|npx) /.test(command) ? [command] : [];
  });
}

/** Runs commands in one shell, as a person pastes them, and returns what each one after the first printed. */
async function paste(commands: readonly string[]): Promise<string[]> {
  const script = commands.join("\necho; echo ----\n");
  const { stdout } = await run("bash", ["-e", "-c", script], { cwd: root, timeout: 60_000 });
  return stdout.split("----\n").slice(1);
}

function list(url: string): string {
  return `curl -s -H "authorization: Bearer $T" -H 'content-type: application/json' -d '{}' ${url}/smpl.api.orders.v1.OrdersService/ListOrdersWithUser`;
}

async function childrenOf(pid: number): Promise<number[]> {
  const { stdout } = await run("ps", ["-o", "pid=,ppid=", "-A"]);
  const rows = stdout
    .trim()
    .split("\n")
    .map((row) => row.trim().split(/\s+/).map(Number));
  return rows.flatMap(([child = 0, parent]) => (parent === pid ? [child] : []));
}

async function eventually(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let tries = 0; tries < 400; tries++) {
    if (await condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error("it did not happen within 10 s");
}
