import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

/** A program that runs beside this one. */
export interface Program {
  /** Resolves to its addresses when it is ready; stays pending if it ends before. */
  readonly ready: Promise<Record<string, string>>;
  /** Resolves when it has ended. */
  readonly exited: Promise<void>;
  /** Asks it to end, and kills it if it has not after some milliseconds. */
  readonly stop: (graceMs: number) => Promise<void>;
}

/** Starts a program that sends its addresses to its parent. Its errors go to the terminal, its lines to `onLine`. */
export function startProgram(path: string, env: NodeJS.ProcessEnv, onLine: (line: string) => void): Program {
  // A group of its own: the terminal's Ctrl-C reaches this program alone, which ends the others in order.
  const child = spawn(process.execPath, [path], {
    env,
    detached: true,
    stdio: ["ignore", "pipe", "inherit", "ipc"],
  });
  if (child.stdout !== null) createInterface(child.stdout).on("line", onLine);
  const exited = once(child, "exit").then(() => {});
  return {
    ready: new Promise((resolve) => {
      child.once("message", (addresses) => resolve(addresses as Record<string, string>));
    }),
    exited,
    stop: async (graceMs) => {
      const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
      child.kill("SIGTERM");
      if (child.exitCode === null && child.signalCode === null) await exited;
      clearTimeout(timer);
    },
  };
}
