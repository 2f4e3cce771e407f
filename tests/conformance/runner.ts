import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { isMissing } from "../program.ts";

/** How a run of the conformance suite went. */
export interface Summary {
  /** The cases that the features of the configuration call for. */
  readonly total: number;
  readonly passed: number;
  /** What the runner says about each case that did not pass. */
  readonly problems: readonly string[];
}

const run = promisify(execFile);
const here = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const cached = here("../../node_modules/.cache/conformance-v1.0.5/connectconformance");

/** Whether there is neither the official runner nor the Go that it is built with. In CI both count as there. */
export function isRunnerMissing(): boolean {
  return process.env["CONFORMANCE_RUNNER"] === undefined && !isThere(cached) && isMissing("go");
}

/** The path of the runner, which is built first where it is not there yet. */
export async function findRunner(): Promise<string> {
  const { stdout } = await run(here("../../.ci/conformance-runner"));
  return stdout.trim();
}

/** Runs every case that suits a client against our calls to internal services. */
export function runClientMode(runner: string): Promise<Summary> {
  const command = [process.execPath, here("client.ts")];
  return runSuite(runner, ["--mode", "client", "--conf", here("client.yaml"), "--", ...command]);
}

/** Runs every case that suits a server against our public port. */
export async function runServerMode(runner: string): Promise<Summary> {
  const folder = mkdtempSync(join(tmpdir(), "portico-conformance-"));
  const socket = join(folder, "server.sock");
  const server = spawn(process.execPath, [here("server.ts"), socket], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    await Promise.race([
      once(server.stdout, "data"),
      once(server, "exit").then(() => {
        throw new Error("the server under test ended before it listened");
      }),
    ]);
    const command = [process.execPath, here("relay.ts"), socket];
    return await runSuite(runner, ["--mode", "server", "--conf", here("server.yaml"), "--", ...command]);
  } finally {
    server.kill();
    rmSync(folder, { recursive: true });
  }
}

/** Two servers at a time, since our machines have two cores. */
const pace = ["--max-servers", "2"];

async function runSuite(runner: string, parts: readonly string[]): Promise<Summary> {
  const child = spawn(runner, [...pace, ...parts], { stdio: ["ignore", "pipe", "pipe"] });
  const [output, complaints] = await Promise.all([child.stdout.toArray(), child.stderr.toArray()]);
  return readSummary(Buffer.concat([...output, ...complaints]).toString());
}

/** Reads what the runner prints at the end. Throws if it did not get that far. */
function readSummary(text: string): Summary {
  const total = /^Total cases: (\d+)/m.exec(text)?.[1];
  const passed = /^(\d+) passed, \d+ failed/m.exec(text)?.[1];
  if (total === undefined || passed === undefined)
    throw new Error(`the conformance runner ended without a summary:\n${text}`);
  return {
    total: Number(total),
    passed: Number(passed),
    problems: text
      .split(/^(?=FAILED: |Another \d|Total cases: )/m)
      .filter((part) => /^(FAILED|Another)/.test(part))
      .map((part) => part.trim()),
  };
}

function isThere(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
