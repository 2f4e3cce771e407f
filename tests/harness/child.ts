import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { type Probe, probeMessage } from "./probe.ts";

/** How a process ended. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stderr: string;
}

/** A program of the repository, in a process of its own that this one can talk to. */
export interface Child {
  readonly process: ChildProcess;
  readonly pid: number;
  /** Resolves when it has ended and all that it said is here. */
  readonly ended: Promise<ProcessEnd>;
  /** Whether it still runs. */
  readonly runs: () => boolean;
  /** All that it wrote to stderr so far. */
  readonly stderr: () => string;
  /** Sends a message and resolves to the next one that `isAnswer` takes. Rejects if the process ends before. */
  readonly ask: <T>(message: string | object, isAnswer: (message: unknown) => message is T) => Promise<T>;
  /** Resolves to the next message that `isWanted` takes. Rejects if the process ends before. */
  readonly told: <T>(isWanted: (message: unknown) => message is T) => Promise<T>;
  readonly probe: () => Promise<Probe>;
  /** Ends it at once, if it has not, and waits. */
  readonly kill: () => Promise<ProcessEnd>;
}

/** What a child is started with. */
export interface ChildOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly args?: readonly string[];
  /** Gets what it writes to stdout, line by line. */
  readonly onLine?: (line: string) => void;
}

const children = new Set<ChildProcess>();
// A test file that is cut off leaves nothing behind.
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

/**
 * Starts a program with this process's Node. It gets the given variables and `PATH`, and no others.
 *
 * @param program its path, absolute or a file URL
 */
export function startChild(program: string | URL, { env = {}, args = [], onLine }: ChildOptions = {}): Child {
  const probe = fileURLToPath(new URL("probe.ts", import.meta.url));
  const child = fork(program, args, {
    stdio: ["ignore", "pipe", "pipe", "ipc"],
    execArgv: ["--expose-gc", "--import", probe],
    serialization: "advanced",
    env: { PATH: process.env["PATH"], ...env },
  });
  children.add(child);
  let stderr = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    if (stderr.length < 100_000) stderr += text;
  });
  if (child.stdout !== null) readLines(child.stdout, onLine ?? (() => {}));
  const ended = Promise.all([once(child, "exit"), closed(child.stdout), closed(child.stderr)]).then(
    ([[code, signal]]): ProcessEnd => {
      children.delete(child);
      return { code, signal, stderr };
    },
  );
  const runs = () => child.exitCode === null && child.signalCode === null;
  const told = <T>(isWanted: (message: unknown) => message is T): Promise<T> =>
    new Promise((resolve, reject) => {
      const take = (message: unknown) => {
        if (!isWanted(message)) return;
        child.off("message", take);
        resolve(message);
      };
      child.on("message", take);
      void ended.then((end) => reject(new Error(`${program} has ended: ${JSON.stringify(end)}`)));
    });
  const ask = <T>(message: string | object, isAnswer: (message: unknown) => message is T): Promise<T> => {
    const answer = told(isAnswer);
    if (child.connected) child.send(message);
    return answer;
  };
  return {
    process: child,
    pid: child.pid ?? 0,
    ended,
    runs,
    stderr: () => stderr,
    told,
    ask,
    probe: async () => (await ask(probeMessage, isProbe))[probeMessage],
    kill: () => {
      if (runs()) child.kill("SIGKILL");
      return ended;
    },
  };
}

/** Whether this system says what a process has open (`/proc`). */
export const hasProc = existsSync("/proc/self/fd");

function isProbe(message: unknown): message is { [probeMessage]: Probe } {
  return typeof message === "object" && message !== null && probeMessage in message;
}

function readLines(stream: Readable, onLine: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8").on("data", (text: string) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  });
}

async function closed(stream: Readable | null): Promise<void> {
  if (stream !== null && !stream.closed) await once(stream, "close");
}
