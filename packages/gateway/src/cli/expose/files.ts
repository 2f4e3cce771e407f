import { access, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import type { DescFile } from "@bufbuild/protobuf";
import type { Project } from "../command.ts";
import { ExposeError } from "./route.ts";
import type { Source } from "./sources.ts";

/** A file that is to change. */
export interface Change {
  readonly path: string;
  /** Its new text, with the line ends of Unix. */
  readonly after: string;
}

/** The folder of the repository: the nearest above the sources of the API that has a `buf.yaml`. */
export async function repositoryOf({ appFolder }: Project): Promise<string> {
  for (let folder = appFolder; folder !== dirname(folder); folder = dirname(folder))
    if (await exists(join(folder, "buf.yaml"))) return folder;
  throw new ExposeError(`No folder above ${appFolder} has a buf.yaml, which says where the protos are`);
}

/** The source of a proto file, from the modules of `buf.yaml`; with the line ends of Unix. */
export async function readProto(repository: string, { name }: DescFile): Promise<Source> {
  const modules = await readFile(join(repository, "buf.yaml"), "utf8");
  const folders = [...modules.matchAll(/^\s*-\s+path:\s*["']?([^"'\s#]+)/gm)].map(([, path = "."]) => path);
  for (const folder of folders.length === 0 ? ["."] : folders) {
    const path = join(repository, folder, `${name}.proto`);
    if (await exists(path)) return readSource(path);
  }
  throw new ExposeError(`${name}.proto is in none of the modules of buf.yaml: ${folders.join(", ")}`);
}

/** The sources of an API; with the line ends of Unix. */
export async function readSources(appFolder: string): Promise<readonly Source[]> {
  const names = await readdir(appFolder, { recursive: true });
  const paths = names.filter((name) => /(?<!\.test)\.ts$/.test(name)).map((name) => join(appFolder, name));
  return Promise.all(paths.map(readSource));
}

async function readSource(path: string): Promise<Source> {
  return { path, text: (await readFile(path, "utf8")).replaceAll("\r\n", "\n") };
}

/**
 * Writes changes, and has the repository put in order what follows from them: formats, generates, and checks. Files keep
 * the line ends that they have. If a step fails, everything is put back.
 *
 * Throws an {@link ExposeError} with what the step said.
 */
export async function apply(changes: readonly Change[], repository: string, project: Project): Promise<void> {
  const before = new Map<string, string>();
  try {
    for (const { path, after } of changes) {
      const text = await readFile(path, "utf8");
      await writeFile(path, text.includes("\r\n") ? after.replaceAll("\n", "\r\n") : after);
      before.set(path, text);
    }
    for (const [program, ...args] of await stepsFor(changes, repository)) {
      // Variables of ours may have paths that count from where the person stands.
      const folder = program === "portico" ? "." : repository;
      const { code, output } = await project.run(program, args, folder);
      if (code !== 0) throw new ExposeError(`${[program, ...args].join(" ")} failed:\n${output.trimEnd()}`);
    }
  } catch (error) {
    for (const [path, text] of before) await writeFile(path, text);
    if (before.size > 0) await generateAgain(repository, project);
    throw error instanceof Error ? new ExposeError(error.message, { cause: error }) : error;
  }
}

/** Why it fails, if it does, was the reason to put everything back, and is told. */
async function generateAgain(repository: string, { run }: Project): Promise<void> {
  await run("buf", ["generate"], repository).catch(() => {});
}

type Step = readonly [program: string, ...args: string[]];

async function stepsFor(changes: readonly Change[], repository: string): Promise<readonly Step[]> {
  const ending = (end: string) => changes.map(({ path }) => path).filter((path) => path.endsWith(end));
  const formats = (await exists(join(repository, "node_modules", ".bin", "biome"))) ? ending(".ts") : [];
  return [
    ...ending(".proto").map((path): Step => ["buf", "format", "-w", relative(repository, path)]),
    ["buf", "generate"],
    ...(formats.length === 0 ? [] : [["biome", "check", "--write", ...formats] satisfies Step]),
    ["portico", "check"],
  ];
}

/** Tells whether there is a file. */
export async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
