import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { root } from "./demo.ts";

/** The repository somewhere else, to be changed: its sources, and all that is installed. */
export interface RepositoryCopy extends AsyncDisposable {
  readonly folder: string;
  readonly read: (path: string) => string;
  /** Replaces a part of a file, which must be there. */
  readonly edit: (path: string, part: string | RegExp, replacement: string) => void;
  /** Runs a program of the repository to its end; `portico` is the command of the copy. */
  readonly run: (program: string, ...args: readonly string[]) => Promise<Ended>;
  /** Starts a program of the copy that tells its parent when it is up. Resolves to what it tells. */
  readonly start: (script: string, env: Readonly<Record<string, string>>) => Promise<Record<string, string>>;
}

/** How a program ended, and what it printed. */
export interface Ended {
  readonly code: number | null;
  readonly output: string;
}

/** Copies what git knows of, and what is new, but for tests: their protos alone are needed to generate. */
export function copyRepository(env: Readonly<Record<string, string>> = {}): RepositoryCopy {
  const folder = mkdtempSync(join(tmpdir(), "portico-repository-"));
  for (const path of sourcesOf(root)) {
    mkdirSync(join(folder, dirname(path)), { recursive: true });
    cpSync(join(root, path), join(folder, path));
  }
  for (const path of ["", "packages/gateway", "packages/internal-mocks", "packages/client-sdk"])
    symlinkSync(join(root, path, "node_modules"), join(folder, path, "node_modules"));
  const running: ChildProcess[] = [];
  const { INIT_CWD: _, ...inherited } = process.env;
  const path = [join(folder, "node_modules/.bin"), process.env["PATH"]].join(delimiter);
  const launch = (file: string, args: readonly string[], more: object, ipc: readonly "ipc"[]) =>
    spawn(file, args, {
      cwd: folder,
      env: { ...inherited, PATH: path, ...env, ...more },
      stdio: ["ignore", "pipe", "pipe", ...ipc],
    });
  return {
    folder,
    read: (path) => readFileSync(join(folder, path), "utf8"),
    edit: (path, part, replacement) => {
      const text = readFileSync(join(folder, path), "utf8");
      const edited = text.replace(part, replacement);
      if (edited === text) throw new Error(`${path} has no ${String(part)}`);
      writeFileSync(join(folder, path), edited);
    },
    run: async (program, ...args) => {
      const [file, given] =
        program === "portico"
          ? [process.execPath, ["packages/gateway/src/main.ts", ...args]]
          : [program, args];
      const child = launch(file, given, {}, []);
      const output = outputOf(child);
      const [code] = await once(child, "close");
      return { code, output: output() };
    },
    start: async (script, more) => {
      const child = launch(process.execPath, [script], more, ["ipc"]);
      running.push(child);
      const output = outputOf(child);
      const failed = once(child, "close").then(() => {
        throw new Error(`${script} ended:\n${output()}`);
      });
      const [told] = await Promise.race([once(child, "message"), failed]);
      return told;
    },
    [Symbol.asyncDispose]: async () => {
      for (const child of running.reverse()) {
        if (child.exitCode !== null || child.signalCode !== null) continue;
        child.kill("SIGKILL");
        await once(child, "exit");
      }
      rmSync(folder, { recursive: true });
    },
  };
}

function outputOf({ stdout, stderr }: ChildProcess): () => string {
  let output = "";
  for (const stream of [stdout, stderr])
    stream?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
  return () => output;
}

function sourcesOf(repository: string): readonly string[] {
  const args = ["ls-files", "--cached", "--others", "--exclude-standard"];
  return execFileSync("git", args, { cwd: repository, encoding: "utf8" })
    .split("\n")
    .filter((path) => path !== "" && !/^tests\/(?!protos\/)|^bench\//.test(path))
    .filter((path) => existsSync(join(repository, path)));
}
