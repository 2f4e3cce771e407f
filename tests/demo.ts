import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { stripVTControlCharacters } from "node:util";
import { expect, vi } from "vitest";

/** The top of the workspace. */
export const root = fileURLToPath(new URL("..", import.meta.url));

/** What starts the demo: the command of the README, or what it comes down to. */
export type DemoCommand = "npx -y pnpm@12 start" | "node examples/demo/start.ts";

/** A demo that is up, on free ports. */
export interface Demo {
  readonly url: string;
  readonly adminUrl: string;
  /** Of the gateway and of each internal service. */
  readonly urls: readonly string[];
  /** What it has printed so far, without colors. */
  readonly output: () => string;
  /** Every process that runs now; undefined on a system without /proc. */
  readonly processes: () => number[] | undefined;
  /** Sends a signal as a terminal does, to all that are in the command's group. Resolves to its exit code. */
  readonly end: (signal: NodeJS.Signals) => Promise<number | null>;
}

/** Starts the demo and waits until it is up. */
export async function startDemo(command: DemoCommand = "node examples/demo/start.ts"): Promise<Demo> {
  const { child, output } = spawnDemo({}, command);
  await vi.waitFor(() => expect(output()).toContain("Ctrl-C stops everything"), { timeout: 50_000 });
  const [banner = ""] = output().split("Three tokens");
  const urls = banner.match(/http:\/\/127\.0\.0\.1:\d+/g) ?? [];
  const [url = "", adminUrl = ""] = urls;
  const { pid = 0 } = child;
  return {
    url,
    adminUrl,
    urls,
    output,
    processes: () => (hasProc ? [pid, ...descendantsOf(pid)] : undefined),
    end: async (signal) => {
      if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
      process.kill(-pid, signal);
      await once(child, "exit");
      return child.exitCode;
    },
  };
}

/** Starts the demo on free ports and does not wait. It is in a group of its own, like all that a shell starts. */
export function spawnDemo(
  env: Readonly<Record<string, string>>,
  command: DemoCommand = "node examples/demo/start.ts",
): { child: ChildProcess; output: () => string } {
  const [program = "", ...args] = command.split(" ");
  const child = spawn(program === "node" ? process.execPath : program, args, {
    cwd: root,
    env: { ...process.env, ...freePorts, ...env },
    stdio: ["ignore", "pipe", "pipe"],
    detached: true,
  });
  let text = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => (text += chunk));
  return { child, output: () => stripVTControlCharacters(text) };
}

const freePorts = { PORT: "0", ADMIN_PORT: "0", USERS_PORT: "0", ORDERS_PORT: "0", INVENTORY_PORT: "0" };

/** Whether this system says which processes there are. */
export const hasProc = existsSync("/proc/self/stat");

/** Whether a process runs. One that has ended counts as gone before its parent has asked how. Needs /proc. */
export function isRunning(pid: number): boolean {
  const stat = statOf(pid);
  return stat !== undefined && !/^[ZX]/.test(stat);
}

function descendantsOf(pid: number): number[] {
  const parents = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => ({ child: Number(name), parent: Number(statOf(Number(name))?.split(" ")[1]) }));
  const below = (pid: number): number[] =>
    parents.flatMap(({ child, parent }) => (parent === pid ? [child, ...below(child)] : []));
  return below(pid);
}

/** The state of a process, its parent and so on: what follows the name of its program, which may contain anything. */
function statOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2);
  } catch {
    return undefined;
  }
}
