import { globSync, readFileSync } from "node:fs";
import { basename, dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

/** A source of the gateway: its path under `packages/gateway/src`, and its text. */
interface Source {
  readonly path: string;
  readonly text: string;
}

const root = fileURLToPath(new URL("../packages/gateway/src/", import.meta.url));
const sources: readonly Source[] = globSync("**/*.ts", { cwd: root })
  .filter((path) => !/^(gen|testing)\/|\.test\.ts$/.test(path))
  .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));

/** Which folders may not be imported from a folder. */
const forbidden: Readonly<Record<string, readonly string[]>> = {
  policy: ["edge", "consolidation", "upstream", "answers", "standard", "cli"],
  upstream: ["edge", "consolidation", "policy", "answers", "standard", "cli"],
  consolidation: ["edge", "policy", "answers", "standard", "cli"],
  observe: ["edge", "policy", "consolidation", "upstream", "answers", "standard", "cli"],
  answers: ["edge", "upstream", "standard", "cli"],
  edge: ["answers", "consolidation", "upstream", "standard", "cli"],
  cli: ["edge", "answers", "standard"],
  standard: ["edge", "answers", "consolidation", "upstream", "observe", "cli"],
};

describe("the gateway's sources", () => {
  test("are there to be checked", () => {
    const folders = new Set(sources.map(({ path }) => folderOf(path)));
    expect([...folders].sort()).toEqual([
      "",
      "answers",
      "app",
      "cli",
      "consolidation",
      "edge",
      "observe",
      "policy",
      "standard",
      "upstream",
    ]);
    expect(sources.flatMap(importsOf).length).toBeGreaterThan(100);
  });

  test("follow the rules", () => {
    expect(sources.flatMap(violations)).toEqual([]);
  });
});

describe("a violation is found", () => {
  test.each<[string, string, string, string]>([
    [
      "the framework imports the app",
      "edge/server.ts",
      'import { services } from "../app/app.ts";',
      "imports app/app.ts",
    ],
    ["so does a re-export", "index.ts", 'export * from "./app/app.ts";', "imports app/app.ts"],
    ["so does a type", "call.ts", 'import type { A } from "./app/app.ts";', "imports app/app.ts"],
    ["so does a dynamic import", "gateway.ts", 'await import("./app/app.ts");', "imports app/app.ts"],
    [
      "so does an import over several lines",
      "gateway.ts",
      'import {\n  a,\n} from "./app/app.ts";',
      "imports app/app.ts",
    ],
    ["so does an import for its effects", "gateway.ts", 'import "./app/app.ts";', "imports app/app.ts"],
    ["someone imports main.ts", "app/app.ts", 'import "../main.ts";', "imports main.ts"],
    [
      "the app goes past index.ts",
      "app/views.ts",
      'import { view } from "../consolidation/view.ts";',
      "imports consolidation/view.ts",
    ],
    [
      "policy imports the edge",
      "policy/access.ts",
      'import { a } from "../edge/server.ts";',
      "imports edge/server.ts",
    ],
    [
      "policy imports consolidation",
      "policy/access.ts",
      'import { a } from "../consolidation/view.ts";',
      "imports consolidation/view.ts",
    ],
    [
      "policy imports upstream, even a type",
      "policy/access.ts",
      'import type { A } from "../upstream/clients.ts";',
      "imports upstream/clients.ts",
    ],
    [
      "upstream imports policy",
      "upstream/clients.ts",
      'import { a } from "../policy/access.ts";',
      "imports policy/access.ts",
    ],
    [
      "upstream imports consolidation",
      "upstream/clients.ts",
      'import { a } from "../consolidation/view.ts";',
      "imports consolidation/view.ts",
    ],
    [
      "consolidation imports policy",
      "consolidation/view.ts",
      'import { a } from "../policy/access.ts";',
      "imports policy/access.ts",
    ],
    [
      "consolidation imports the edge",
      "consolidation/view.ts",
      'import { a } from "../edge/server.ts";',
      "imports edge/server.ts",
    ],
    [
      "observe imports upstream",
      "observe/request-log.ts",
      'import { a } from "../upstream/clients.ts";',
      "imports upstream/clients.ts",
    ],
    [
      "a standard service imports the edge",
      "standard/health/health.ts",
      'import { a } from "../../edge/health.ts";',
      "imports edge/health.ts",
    ],
    [
      "the edge imports a standard service",
      "edge/health.ts",
      'import { a } from "../standard/health/health.ts";',
      "imports standard/health/health.ts",
    ],
    [
      "a stage imports the call as a value",
      "policy/access.ts",
      'import { a } from "../call.ts";',
      "imports call.ts as a value",
    ],
    [
      "a test's folder is imported",
      "policy/access.ts",
      'import { a } from "../testing/call.ts";',
      "imports testing/call.ts",
    ],
    ["a file is named for nothing", "edge/utils.ts", "", "is named utils"],
    ["a folder is named for nothing", "common/text.ts", "", "is named common"],
    [
      "the framework knows the demo's package",
      "edge/server.ts",
      'const path = "/smpl.api.orders.v1";',
      'says "smpl"',
    ],
    ["the framework knows the demo's domain", "policy/access.ts", "const byEmail = 1;", 'says "email"'],
    ["in a template", "policy/access.ts", `const a = \`$\{ordersById}\`;`, 'says "orders"'],
    ["someone else touches the process", "config.ts", "const env = process.env;", "touches the process"],
  ])("%s", (_, path, text, problem) => {
    expect(violations({ path, text })).toEqual([`${path} ${problem}`]);
  });

  test.each<[string, string, string]>([
    [
      "the app imports index.ts, gen/ and itself",
      "app/views.ts",
      'import { view } from "../index.ts";\nimport { a } from "../gen/a_pb.ts";\nimport { b } from "./loaders.ts";\nimport { Code } from "@connectrpc/connect";',
    ],
    [
      "main.ts imports the app and touches the process",
      "main.ts",
      'import { services } from "./app/app.ts";\nprocess.exit(1);',
    ],
    [
      "consolidation imports upstream",
      "consolidation/loader.ts",
      'import { a } from "../upstream/upstream.ts";',
    ],
    [
      "a command looks at views and upstreams",
      "cli/drift.ts",
      'import { a } from "../consolidation/path.ts";\nimport { b } from "../upstream/upstream.ts";',
    ],
    ["anyone imports the type of a call", "upstream/clients.ts", 'import type { Call } from "../call.ts";'],
    [
      "a comment has an example of the demo",
      "policy/access.ts",
      "/** @example orders.read, email */\n// smpl\nconst a = 1;",
    ],
    ["a message has one", "policy/access.ts", 'const a = "must be like orders.read";'],
    ["a string looks like a comment", "edge/server.ts", 'const a = "http://a"; // orders'],
    ["the app has its own domain", "app/views.ts", 'const orders = "smpl";'],
  ])("but not when %s", (_, path, text) => {
    expect(violations({ path, text })).toEqual([]);
  });
});

/** What a source does that it must not, each with its path. */
function violations(source: Source): string[] {
  const problems = [
    ...importsOf(source).flatMap((specifier) => importProblem(source.path, specifier) ?? []),
    ...nameProblems(source.path),
    ...(folderOf(source.path) === "app" ? [] : [...domainProblems(source), ...processProblems(source)]),
  ];
  return problems.map((problem) => `${source.path} ${problem}`);
}

interface Import {
  /** The path of the file under the root; `undefined` for a package. */
  readonly target: string | undefined;
  readonly typeOnly: boolean;
}

function importsOf({ path, text }: Source): Import[] {
  const statement =
    /^\s*(?:import|export)\s+(type\s+)?(?:[\w*{][^"';]*?\sfrom\s*)?"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/gm;
  return [...withoutComments(text).matchAll(statement)].map(([, type, named = "", dynamic = named]) => ({
    target: dynamic.startsWith(".") ? normalize(join(dirname(path), dynamic)) : undefined,
    typeOnly: type !== undefined,
  }));
}

function importProblem(path: string, { target, typeOnly }: Import): string | undefined {
  if (target === undefined) return undefined;
  const [from, to] = [folderOf(path), folderOf(target)];
  const problem = `imports ${target}`;
  if (target === "main.ts" || to === "testing") return problem;
  if (from === "app") return ["app", "gen"].includes(to) || target === "index.ts" ? undefined : problem;
  if (to === "app") return path === "main.ts" ? undefined : problem;
  if (target === "call.ts" && !typeOnly) return `${problem} as a value`;
  return forbidden[from]?.includes(to) ? problem : undefined;
}

function nameProblems(path: string): string[] {
  return path
    .split("/")
    .map((part) => basename(part, ".ts"))
    .filter((name) => /^(utils?|helpers?|common|shared|misc)$/.test(name))
    .map((name) => `is named ${name}`);
}

/** What the demo is about. In messages, such words stand in examples; the package's name has no place even there. */
const domain = ["smpl", "email", "inventory", "order", "orders", "user", "users", "product", "products"];

function domainProblems({ path, text }: Source): string[] {
  const code = withoutComments(text);
  const said = [...wordsOf(withoutStrings(code)), ...(/smpl/i.test(code) ? ["smpl"] : [])];
  return path === "main.ts"
    ? []
    : domain.filter((word) => said.includes(word)).map((word) => `says "${word}"`);
}

/** The words of identifiers: `usersById` is users, by, id. */
function wordsOf(code: string): string[] {
  return code.match(/[A-Z]?[a-z]+|[A-Z]+(?![a-z])/g)?.map((word) => word.toLowerCase()) ?? [];
}

function processProblems({ path, text }: Source): string[] {
  const code = withoutStrings(withoutComments(text));
  const touches = /\bprocess\s*[.[]/.test(code) || /["'](node:)?process["']/.test(text);
  return touches && path !== "main.ts" ? ["touches the process"] : [];
}

const string = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/;
const comment = /\/\*[\s\S]*?\*\/|\/\/[^\n]*/;

/** Strings are matched first, so that a `//` inside one begins no comment. */
function withoutComments(text: string): string {
  return text.replace(
    new RegExp(`(${string.source})|${comment.source}`, "g"),
    (_, kept?: string) => kept ?? "",
  );
}

/** Empties strings, and templates but for their expressions. */
function withoutStrings(code: string): string {
  return code
    .replace(new RegExp(string.source, "g"), '""')
    .replace(/`(?:\\.|[^`\\])*`/g, (template) =>
      [...template.matchAll(/\$\{([^}]*)\}/g)].map(([, code]) => code).join(";"),
    );
}

function folderOf(path: string): string {
  return path.includes("/") ? (path.split("/", 1)[0] ?? "") : "";
}
