import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

// The bugs of others that are written down are still there, and what works around them is where the page says.

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(`${root}/${path}`, "utf8");

interface Bug {
  readonly title: string;
  /** The package that has it, and the version in which it was seen. */
  readonly name: string;
  readonly version: string;
  /** What works around it, by file. */
  readonly workarounds: readonly { readonly name: string; readonly path: string }[];
  readonly program: string;
  readonly output: string;
}

const [, ...sections] = read("docs/upstream-bugs.md").split(/^### /m);
const bugs = sections.map(readBug);
const workarounds = [
  ...new Map(bugs.flatMap((bug) => bug.workarounds.map((it) => [`${it.path} ${it.name}`, it]))).values(),
];
const versions = new Map(
  [...read("pnpm-workspace.yaml").matchAll(/^ {2}"?([^\s":]+)"?: (\d\S*)$/gm)].map(
    ([, name = "", version = ""]) => [name, version],
  ),
);

function readBug(section: string): Bug {
  const [, name = "", version = ""] = /^- In `(\S+)` (\d\S*?),?(?: \[.*)?$/m.exec(section) ?? [];
  const [, program = ""] = /^```js\n(.*?)^```$/ms.exec(section) ?? [];
  const [, output = ""] = /^```text\n(.*?)\n```$/ms.exec(section) ?? [];
  const workarounds = [...section.matchAll(/^- Here: `(\w+)` in `(\S+)`$/gm)].map(
    ([, name = "", path = ""]) => ({ name, path }),
  );
  return { title: section.split("\n", 1)[0] ?? "", name, version, workarounds, program, output };
}

/** Runs a program as the page says, and gives what it prints. */
async function run(program: string): Promise<string> {
  const child = spawn(process.execPath, ["--input-type=module"], {
    cwd: `${root}/packages/gateway`,
    stdio: ["pipe", "pipe", "ignore"],
    timeout: 60_000,
    killSignal: "SIGKILL",
  });
  const closed = once(child, "close");
  child.stdin.end(program);
  const output = await text(child.stdout);
  await closed;
  return output.trim();
}

test("each section has a package, a way around it, a program and its output", () => {
  expect(bugs.length).toBeGreaterThan(20);
  const incomplete = bugs.filter(
    ({ name, program, output, workarounds }) =>
      name === "" || program === "" || output === "" || workarounds.length === 0,
  );
  expect(incomplete.map(({ title }) => title)).toEqual([]);
});

describe("a bug of others", () => {
  test.concurrent.for(bugs)("$title: is still there", { timeout: 90_000 }, async (bug, { expect }) => {
    const names = bug.workarounds.map(({ name }) => name).join(" and ");
    expect(await run(bug.program), `this bug seems to be mended: remove ${names}`).toBe(bug.output);
  });

  test.for(bugs)("$title: was seen in the version that is used", ({ name, version }) => {
    expect(version, `see whether ${name} still has it, and write down its version`).toBe(versions.get(name));
  });

  test.for(workarounds)("is worked around by $name in $path", ({ name, path }) => {
    const declared = new RegExp(`^(export )?(async )?function\\*? ${name}\\b`, "m").test(read(path));
    expect(declared, `${path} has no function ${name}`).toBe(true);
  });
});
