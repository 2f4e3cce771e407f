import { spawn } from "node:child_process";
import { once } from "node:events";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { destination, pino } from "pino";
import { type ProgramEnd, runCommand } from "./cli/command.ts";
import { loadConfig } from "./config.ts";
import { checkLate } from "./consolidation/views/late.ts";
import { StartError } from "./errors.ts";
import { createGateway, type Gateway } from "./gateway.ts";
import { describeError } from "./observe/describe-error.ts";
import type { ProcessFacts } from "./observe/metric-facts.ts";
import { declaration } from "./upstream/upstream.ts";

// The only file that touches the process.

const args = process.argv.slice(2);
try {
  // Paths count from where the person stands; pnpm runs scripts where their package is.
  const standing = process.env["INIT_CWD"];
  if (standing) process.chdir(standing);
  if (args.length > 0) process.exitCode = await command();
  else await serve();
} catch (error) {
  process.stderr.write(`${explain(error)}\n`);
  process.exit(1);
}

/** Not imported above: what is wrong in a view or a service is said like everything else that keeps it from starting. */
function app() {
  return import("./app/app.ts");
}

/** The programs of the repository are found as its scripts find them. */
async function run(program: string, args: readonly string[], folder: string): Promise<ProgramEnd> {
  const [file, given] =
    program === "portico" ? [process.execPath, [fileURLToPath(import.meta.url), ...args]] : [program, args];
  const path = [join(folder, "node_modules", ".bin"), process.env["PATH"]].join(delimiter);
  const { INIT_CWD: _, ...env } = process.env;
  const child = spawn(file, given, {
    cwd: folder,
    env: { ...env, PATH: path },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  const [code] = await once(child, "close");
  return { code: Number(code ?? 1), output };
}

async function command(): Promise<number> {
  // Who reads the first lines alone is content with them.
  process.stdout.on("error", () => process.exit());
  return runCommand(args, {
    env: process.env,
    app,
    project: { appFolder: fileURLToPath(new URL("./app", import.meta.url)), run },
    now: Date.now,
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
  });
}

async function serve(): Promise<void> {
  const { services, upstreams, views, requests } = await app();
  checkLate([...views, ...requests]);
  const config = loadConfig(
    process.env,
    upstreams.map((upstream) => upstream[declaration].name),
  );
  const output = destination({ dest: 1, sync: false });
  const log = pino(
    {
      level: config.logLevel,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      serializers: { err: describeError },
    },
    output,
  );
  const gateway = await createGateway({ config, services, upstreams, log, processFacts });
  stopOnSignals(gateway, config.drain.delayMs + config.drain.timeoutMs);
  const { url, adminUrl } = await gateway.listen();
  log.info({ url, adminUrl, mode: config.mode }, "listening");
  process.send?.({ url, adminUrl });

  function stopOnSignals({ drain }: Gateway, drainMs: number): void {
    let stopping = false;
    const stop = async (reason: string, exitCode: number): Promise<void> => {
      if (stopping) return;
      stopping = true;
      log.info({ reason }, "draining");
      // Whatever keeps the drain from ending, the process ends.
      setTimeout(() => process.exit(1), exitCode === 0 ? drainMs + 3_000 : 10_000).unref();
      const cutOff = await drain();
      log.info({ cutOff }, "stopped");
      // Lines are written in the background. Who reads none of them cannot keep the process.
      if (log.isLevelEnabled("info")) await Promise.race([once(output, "drain"), delay(500)]);
      process.exit(exitCode);
    };
    process.on("SIGTERM", () => void stop("SIGTERM", 0));
    process.on("SIGINT", () => void stop("SIGINT", 0));
    // With a parent that talks to us, its end is ours.
    process.on("disconnect", () => void stop("parent gone", 0));
    // The state of the process is unknown from here on: finish what can be finished, then let it be restarted.
    process.on("uncaughtException", (error) => {
      log.fatal({ err: error }, "uncaught exception");
      void stop("uncaught exception", 1);
    });
  }
}

function processFacts(): ProcessFacts {
  const { user, system } = process.cpuUsage();
  return {
    node: process.versions.node,
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
  };
}

function explain(error: unknown): string {
  if (error instanceof StartError) return error.message;
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}
