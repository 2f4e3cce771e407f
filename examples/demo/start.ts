import { fileURLToPath } from "node:url";
import { printBanner } from "./banner.ts";
import { printLog } from "./log.ts";
import { type Program, startProgram } from "./program.ts";

// `pnpm start`: the three internal services and the gateway, each a program of its own, as in production.

const began = performance.now();
const programs: Program[] = [];
let stopping = false;

process.on("SIGINT", () => void stop(0));
process.on("SIGTERM", () => void stop(0));

if (process.env["TLS_CERT_FILE"] || process.env["TLS_KEY_FILE"]) {
  process.stderr.write("The demo is cleartext: TLS_CERT_FILE and TLS_KEY_FILE are for the gateway alone.\n");
  process.exit(1);
}
const internal = await start("packages/internal-mocks/src/main.ts", {}, () => {});
const gateway = await start(
  "packages/gateway/src/main.ts",
  {
    PORTICO_MODE: "demo",
    ACCESS_FILE: pathOf("packages/gateway/src/app/access.json"),
    UPSTREAM_USERS: internal["users"],
    UPSTREAM_ORDERS: internal["orders"],
    UPSTREAM_INVENTORY: internal["inventory"],
    // Ctrl-C means now.
    DRAIN_TIMEOUT_MS: "300",
  },
  printLog,
);
await printBanner(gateway, internal, performance.now() - began);

/** Starts a program and waits until it says where it listens. */
async function start(
  path: string,
  settings: NodeJS.ProcessEnv,
  onLine: (line: string) => void,
): Promise<Record<string, string>> {
  const program = startProgram(pathOf(path), { ...process.env, ...settings }, onLine);
  programs.push(program);
  program.exited.then(() => stop(1));
  return program.ready;
}

/** Ends every program, the last started first, so that the gateway still has its services while it drains. */
async function stop(exitCode: number): Promise<void> {
  if (stopping) return;
  stopping = true;
  for (const program of programs.toReversed()) await program.stop(400);
  process.exit(exitCode);
}

function pathOf(path: string): string {
  return fileURLToPath(new URL(`../../${path}`, import.meta.url));
}
