import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { findProgram, isMissing } from "./program.ts";

/** What to add to the name of tests that are skipped because there is no Redis; empty if they run. */
export const noRedis = isMissing("redis-server") ? " (skipped: no redis-server on the PATH)" : "";

/** A Redis of one test file, which keeps nothing. */
export interface TestRedis extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  /** Stops it in its tracks: connections stay open and nobody answers. */
  readonly pause: () => void;
  /** Lets it go on. */
  readonly resume: () => void;
  /** Kills it, and all that it held. */
  readonly stop: () => Promise<void>;
  /** Starts it again on the same port. */
  readonly restart: () => Promise<void>;
}

/**
 * Starts a real Redis on a free port, in a folder of its own.
 *
 * @param options of `redis-server`, such as `["--requirepass", "secret"]`
 */
export async function startRedis(options: readonly string[] = []): Promise<TestRedis> {
  const folder = await mkdtemp(join(tmpdir(), "portico-redis-"));
  const discard = () => rm(folder, { recursive: true, force: true });
  let { child, port } = await startOnFreePort(folder, options).catch(async (error: unknown) => {
    await discard();
    throw error;
  });
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill("SIGKILL");
    await once(child, "exit");
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    pause: () => child.kill("SIGSTOP"),
    resume: () => child.kill("SIGCONT"),
    stop,
    restart: async () => {
      await stop();
      child = await start(port, folder, options);
    },
    [Symbol.asyncDispose]: async () => {
      await stop();
      await discard();
    },
  };
}

/** Something between a gateway and its Redis that makes trouble. */
export interface TroubledWay extends AsyncDisposable {
  readonly port: number;
  /** By how many milliseconds answers are late from now on. */
  readonly delay: (milliseconds: number) => void;
  /** Lets connections that are open go silent for ever, as when a machine vanishes. New ones work. */
  readonly freeze: () => void;
}

/** Starts a way to a port; with a certificate and its key, over TLS. */
export async function startTroubledWay(to: number, tls?: TlsOptions): Promise<TroubledWay> {
  let delayMs = 0;
  let open = new Set<Socket>();
  const sockets = new Set<Socket>();
  const pass = (client: Socket) => {
    const server = connect(to, "127.0.0.1");
    open.add(client);
    for (const socket of [client, server]) {
      sockets.add(socket);
      socket.on("error", () => {});
      socket.on("close", () => [client, server].forEach((it) => void it.destroy()));
    }
    client.on("data", (chunk) => open.has(client) && server.write(chunk));
    let due = 0;
    server.on("data", (chunk) => {
      due = Math.max(due, performance.now() + delayMs);
      setTimeout(() => open.has(client) && client.write(chunk), Math.max(0, due - performance.now()));
    });
  };
  const server = tls === undefined ? createServer(pass) : createTlsServer(tls, pass);
  const port = await listen(server);
  return {
    port,
    delay: (milliseconds) => {
      delayMs = milliseconds;
    },
    freeze: () => {
      open = new Set();
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** Another program may take a port that was free a moment ago. */
async function startOnFreePort(folder: string, options: readonly string[], attempts = 3) {
  const port = await freePort();
  try {
    return { port, child: await start(port, folder, options) };
  } catch (error) {
    if (attempts === 1) throw error;
    return startOnFreePort(folder, options, attempts - 1);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  const port = await listen(server);
  server.close();
  await once(server, "close");
  return port;
}

async function listen(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  // A TCP server's address is never the text that a Unix socket's is.
  return (server.address() as AddressInfo).port;
}

/** Resolves when it accepts connections. */
async function start(port: number, folder: string, options: readonly string[]): Promise<ChildProcess> {
  const program = findProgram("redis-server");
  if (program === undefined) throw new Error("redis-server is not on the PATH: install Redis");
  const settings = `--port ${port} --bind 127.0.0.1 --dir ${folder} --daemonize no --appendonly no`.split(
    " ",
  );
  const child = spawn(program, [...settings, "--save", "", ...options], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  let output = "";
  await new Promise<void>((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (output.includes("Ready to accept connections")) resolve();
    });
    child.once("error", reject);
    child.once("exit", () => reject(new Error(`redis-server ended before it was up:\n${output}`)));
  });
  return child;
}
