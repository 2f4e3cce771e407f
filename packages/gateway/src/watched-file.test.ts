import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { StartError } from "./errors.ts";
import { thrownBy } from "./testing/call.ts";
import { createWatchedFile } from "./watched-file.ts";

/** Long past, so that the file system's own time says nothing about a change. */
const longAgo = new Date("2020-01-01");

function inFolder(name = "file.json"): { folder: string; path: string } {
  const folder = mkdtempSync(join(tmpdir(), "portico-watched-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return { folder, path: join(folder, name) };
}

function write(path: string, text: string | Buffer): void {
  writeFileSync(path, text);
  utimesSync(path, longAgo, longAgo);
}

/** A watch that looks only when the test says so. */
function watch(path: string, intervalMs = 1e9) {
  const lines: string[] = [];
  const problems: unknown[] = [];
  const line = (level: string) => (facts: unknown, message?: string) => {
    lines.push(`${level}: ${message}`);
    if (level === "error") problems.push((facts as { problems?: unknown }).problems);
  };
  const parse = vi.fn((text: string): { readonly n: number } => {
    if (!/^\{"n":\d+\}$/.test(text)) throw new StartError([`${path}: is broken`]);
    return JSON.parse(text);
  });
  const file = createWatchedFile({
    path,
    name: "ACCESS_FILE",
    parse,
    log: { info: line("info"), error: line("error") },
    intervalMs,
  });
  onTestFinished(file.stop);
  return { ...file, lines, problems, parse };
}

const refused = "error: ACCESS_FILE is refused: what was read before stays in force";
const unreadable = "error: ACCESS_FILE cannot be read: what was read before stays in force";

test("a change is taken up", async () => {
  const { path } = inFolder();
  write(path, '{"n":1}');
  const file = watch(path);
  expect(file.current()).toEqual({ n: 1 });
  write(path, '{"n":2}');
  await file.refresh();
  expect(file.current()).toEqual({ n: 2 });
  expect(file.lines).toEqual(["info: ACCESS_FILE reloaded"]);
});

test("it looks by itself, and no longer once it is stopped", async () => {
  const { path } = inFolder();
  write(path, '{"n":1}');
  const file = watch(path, 5);
  write(path, '{"n":2}');
  await expect.poll(() => file.current()).toEqual({ n: 2 });
  file.stop();
  await file.refresh();
  write(path, '{"n":3}');
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(file.current()).toEqual({ n: 2 });
});

test("what has not changed is neither parsed again nor told", async () => {
  const { path } = inFolder();
  write(path, '{"n":1}');
  const file = watch(path);
  for (let look = 0; look < 5; look++) await file.refresh();
  write(path, '{"n":1}');
  for (let look = 0; look < 5; look++) await file.refresh();
  expect(file.parse).toHaveBeenCalledTimes(1);
  expect(file.lines).toEqual([]);
});

test("a broken content is refused, said once, and the value stays", async () => {
  const { path } = inFolder();
  write(path, '{"n":1}');
  const file = watch(path);
  write(path, "{broken");
  for (let look = 0; look < 5; look++) await file.refresh();
  expect(file.current()).toEqual({ n: 1 });
  expect(file.lines).toEqual([refused]);
  expect(file.problems).toEqual([[`${path}: is broken`]]);
  write(path, "{broken otherwise");
  for (let look = 0; look < 5; look++) await file.refresh();
  expect(file.lines).toEqual([refused, refused]);
  write(path, '{"n":2}');
  await file.refresh();
  expect(file.current()).toEqual({ n: 2 });
  expect(file.lines.at(-1)).toBe("info: ACCESS_FILE reloaded");
});

test("a file that an editor empties and then writes is taken up without a complaint", async () => {
  const { path } = inFolder();
  write(path, '{"n":1}');
  const file = watch(path);
  write(path, "");
  await file.refresh();
  write(path, '{"n":');
  await file.refresh();
  write(path, '{"n":2}');
  await file.refresh();
  expect(file.current()).toEqual({ n: 2 });
  expect(file.lines).toEqual(["info: ACCESS_FILE reloaded"]);
});

test("a file that is gone leaves the value, said once; it may come back as it was", async () => {
  const { path } = inFolder();
  write(path, '{"n":1}');
  const file = watch(path);
  rmSync(path);
  for (let look = 0; look < 5; look++) await file.refresh();
  expect(file.current()).toEqual({ n: 1 });
  expect(file.lines).toEqual([unreadable]);
  expect(file.problems).toEqual([[expect.stringContaining("ENOENT")]]);
  write(path, '{"n":1}');
  await file.refresh();
  expect(file.lines).toEqual([unreadable, "info: ACCESS_FILE is as it was before"]);
  expect(file.parse).toHaveBeenCalledTimes(1);
});

test("links that Kubernetes swaps two folders up are followed", async () => {
  const { folder } = inFolder();
  for (const [version, n] of [
    ["..v1", 1],
    ["..v2", 2],
  ] as const) {
    mkdirSync(join(folder, version));
    write(join(folder, version, "file.json"), `{"n":${n}}`);
  }
  symlinkSync("..v1", join(folder, "..data"));
  symlinkSync("..data/file.json", join(folder, "file.json"));
  const file = watch(join(folder, "file.json"));
  symlinkSync("..v2", join(folder, "..tmp"));
  renameSync(join(folder, "..tmp"), join(folder, "..data"));
  await file.refresh();
  expect(file.current()).toEqual({ n: 2 });
});

test("a change within the grain of the file system's clock is found: same size, same time, same file", async () => {
  const { path } = inFolder();
  const grain = new Date(Math.floor(Date.now() / 1_000) * 1_000);
  const writeNow = (text: string): void => {
    writeFileSync(path, text);
    utimesSync(path, grain, grain);
  };
  writeNow('{"n":1}');
  const file = watch(path);
  writeNow('{"n":2}');
  await file.refresh();
  writeNow('{"n":3}');
  await file.refresh();
  expect(file.current()).toEqual({ n: 3 });
});

test.each<[string, string | Buffer, RegExp]>([
  ["too large", Buffer.alloc(10 * 2 ** 20 + 1, " "), /more than 10485760 bytes/],
  ["not UTF-8", Buffer.from([0x7b, 0xff, 0x7d]), /utf-8/i],
])("a file that is %s is refused, at the start and later", async (_, content, words) => {
  const { path } = inFolder();
  write(path, content);
  const error = (await thrownBy(() => watch(path))) as StartError;
  expect(error).toBeInstanceOf(StartError);
  expect(error.problems).toEqual([
    expect.stringContaining(`ACCESS_FILE is "${path}", which cannot be read: `),
  ]);
  expect(error.message).toMatch(words);
  write(path, '{"n":1}');
  const file = watch(path);
  write(path, content);
  await file.refresh();
  await file.refresh();
  expect(file.lines).toEqual([unreadable]);
  expect(file.problems).toEqual([[expect.stringMatching(words)]]);
  expect(file.current()).toEqual({ n: 1 });
});

test("a file that is missing, a folder or broken keeps the gateway from starting", async () => {
  const { folder, path } = inFolder();
  const missing = (await thrownBy(() => watch(path))) as StartError;
  expect(missing.problems).toEqual([
    expect.stringMatching(/^ACCESS_FILE is ".*", which cannot be read: ENOENT/),
  ]);
  const other = (await thrownBy(() => watch(folder))) as StartError;
  expect(other.problems).toEqual([`ACCESS_FILE is "${folder}", which cannot be read: it is not a file`]);
  write(path, "{broken");
  expect(((await thrownBy(() => watch(path))) as StartError).problems).toEqual([`${path}: is broken`]);
});

test("the mark that some editors put in front is left out", () => {
  const { path } = inFolder();
  write(path, '\ufeff{"n":1}');
  expect(watch(path).current()).toEqual({ n: 1 });
});
