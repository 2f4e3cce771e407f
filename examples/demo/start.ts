import { printBanner } from "./banner.ts";
import { printLog } from "./log.ts";
import { type Program, startProgram } from "./program.ts";

// `pnpm start`: the three internal services and the gateway, each a program of its own, as in production.

const root = new URL("../../", import.meta.url);
const environment = {
  USERS_PORT: "9101",
  ORDERS_PORT: "9102",
  INVENTORY_PORT: "9103",
  PORT: "8080",
  ...process.env,
};
const programs: Program[] = [];
let stopping = false;

process.on("SIGINT", () => void stop(0));
process.on("SIGTERM", () => void stop(0));

const began = performance.now();
await start("packages/internal-mocks/src/main.ts", {}, () => {});
await start(
  "packages/gateway/src/main.ts",
  {
    PORTICO_MODE: "demo",
    ACCESS_FILE: new URL("packages/gateway/src/app/access.json", root).pathname,
    UPSTREAM_USERS: `http://127.0.0.1:${environment.USERS_PORT}`,
    UPSTREAM_ORDERS: `http://127.0.0.1:${environment.ORDERS_PORT}`,
    UPSTREAM_INVENTORY: `http://127.0.0.1:${environment.INVENTORY_PORT}`,
    // Ctrl-C means now.
    DRAIN_TIMEOUT_MS: "300",
  },
  printLog,
);
await printBanner(environment, performance.now() - began);

async function start(
  path: string,
  settings: Record<string, string>,
  onLine: (line: string) => void,
): Promise<void> {
  const program = startProgram(new URL(path, root), { ...environment, ...settings }, onLine);
  programs.push(program);
  program.exited.then(() => stop(1));
  await program.ready;
}

/** Ends every program, the last started first; none outlives this one. */
async function stop(exitCode: number): Promise<void> {
  if (stopping) return;
  stopping = true;
  await Promise.all(programs.toReversed().map((program) => program.stop(800)));
  process.exit(exitCode);
}
