import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

// What the documents quote from the code stands in the code. A block that quotes names the file in its first line.

const root = fileURLToPath(new URL("..", import.meta.url));
const read = (path: string) => readFileSync(`${root}/${path}`, "utf8");
const documents = [
  "README.md",
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  "docs/policy.md",
  "docs/errors.md",
  "docs/read-mask.md",
  "docs/partial-results.md",
  "docs/caching.md",
  "docs/consolidation.md",
  "docs/plan.md",
  "docs/drift.md",
  "docs/upstreams.md",
  "docs/overload.md",
  "docs/health-and-reflection.md",
  "docs/observability.md",
  "docs/conformance.md",
];

const quotes = documents.flatMap((document) =>
  [...read(document).matchAll(/^```(?:proto|ts)\n\/\/ (\S+\/\S+)\n(.*?)^```$/gms)].map(
    ([, path = "", code = ""]) => ({ document, path, code }),
  ),
);

describe("the code that the documents quote", () => {
  test.each(quotes)("stands in $path, as $document says", ({ path, code }) => {
    expect(existsSync(`${root}/${path}`), `there is no ${path}`).toBe(true);
    expect(compact(code).length).toBeGreaterThan(20);
    expect(compact(read(path)).includes(compact(code)), `${path} has no such lines:\n${code}`).toBe(true);
  });

  test("is all of what the README shows about exposing something", () => {
    const [, section = ""] = read("README.md").split(/^## Expose something$/m);
    const [text = ""] = section.split(/^## /m);
    const blocks = text.match(/^```(?:proto|ts)$/gm) ?? [];
    expect(blocks.length).toBeGreaterThanOrEqual(3);
    const quoted = quotes.filter(({ document, code }) => document === "README.md" && text.includes(code));
    expect(quoted).toHaveLength(blocks.length);
  });
});

describe("the links of the documents", () => {
  const links = documents.flatMap((document) =>
    [...read(document).matchAll(/\]\((?!https?:)([^)#]*)(?:#([^)]+))?\)/g)].map(([, path = "", heading]) => ({
      document,
      target: path === "" ? document : join(dirname(document), path),
      heading,
    })),
  );

  test.each(links)("$document: $target leads somewhere", ({ target, heading }) => {
    expect(existsSync(`${root}/${target}`), `there is no ${target}`).toBe(true);
    if (heading === undefined) return;
    const headings = [...read(target).matchAll(/^#+ (.*)$/gm)].map(([, text = ""]) =>
      text.toLowerCase().replaceAll(" ", "-"),
    );
    expect(headings).toContain(heading);
  });
});

/** Without white space, and without the commas that the formatter adds where it breaks a line. */
function compact(code: string): string {
  return code.replace(/\s+/g, "").replace(/,(?=[\])}]|$)/g, "");
}
