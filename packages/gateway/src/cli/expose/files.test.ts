import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import type { Project } from "../command.ts";
import { apply, readSources } from "./files.ts";

/** A repository with two files, one of which has the line ends of Windows, and a folder. */
function openRepository() {
  const folder = mkdtempSync(join(tmpdir(), "portico-expose-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const [unix, windows, taken] = ["unix.ts", "windows.ts", "taken.proto"].map((name) => join(folder, name));
  const files = { unix: String(unix), windows: String(windows), taken: String(taken) };
  writeFileSync(files.unix, "a\nb\n");
  writeFileSync(files.windows, "a\r\nb\r\n");
  mkdirSync(files.taken);
  return {
    folder,
    ...files,
    texts: () => [files.unix, files.windows].map((path) => readFileSync(path, "utf8")),
  };
}

function project(run: Project["run"]): Project {
  return { appFolder: "/nowhere", run };
}

const passes = project(async () => ({ code: 0, output: "" }));

test("files keep their line ends", async () => {
  const { folder, unix, windows, texts } = openRepository();
  const sources = await readSources(folder);
  expect(sources.map(({ text }) => text)).toEqual(["a\nb\n", "a\nb\n"]);
  const changes = [unix, windows].map((path) => ({ path, after: "a\nnew\n" }));
  await apply(changes, folder, passes);
  expect(texts()).toEqual(["a\nnew\n", "a\r\nnew\r\n"]);
});

test("everything is put back, and generated again, if a step fails", async () => {
  const { folder, unix, windows, texts } = openRepository();
  const before = texts();
  const ran: string[] = [];
  const fails = project(async (program, args) => {
    ran.push([program, ...args].join(" "));
    return { code: ran.length > 1 ? 0 : 1, output: "no such type\n" };
  });
  const changes = [unix, windows].map((path) => ({ path, after: "new\n" }));
  await expect(apply(changes, folder, fails)).rejects.toThrow("buf generate failed:\nno such type");
  expect(ran).toEqual(["buf generate", "buf generate"]);
  expect(texts()).toEqual(before);
});

test("everything is put back if a program is not there, or another file cannot be written", async () => {
  const { folder, unix, taken, texts } = openRepository();
  const before = texts();
  const none = project(async () => {
    throw Object.assign(new Error("spawn buf ENOENT"), { syscall: "spawn buf" });
  });
  await expect(apply([{ path: unix, after: "new\n" }], folder, none)).rejects.toThrow("spawn buf ENOENT");
  expect(texts()).toEqual(before);
  const changes = [unix, taken].map((path) => ({ path, after: "new\n" }));
  await expect(apply(changes, folder, passes)).rejects.toThrow("EISDIR");
  expect(texts()).toEqual(before);
});
