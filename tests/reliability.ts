import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Figure } from "./harness/figures.ts";
import { writeReport } from "./harness/report.ts";

// The program of `pnpm reliability [FOLDER...] [--out FILE]`: runs the programme, all of it or the named folders, and
// writes what was measured. RELIABILITY_SCALE multiplies its size. Its exit code is that of the tests.

const root = fileURLToPath(new URL("..", import.meta.url));
const { values, positionals } = parseArgs({ allowPositionals: true, options: { out: { type: "string" } } });
const folder = mkdtempSync(join(tmpdir(), "portico-reliability-"));
const file = join(folder, "figures.jsonl");
process.exitCode = await runTests();
const figures = existsSync(file) ? readFigures(readFileSync(file, "utf8")) : [];
rmSync(folder, { recursive: true });
// A part of the programme does not take the place of the report of all of it.
const out = values.out ?? (positionals.length === 0 ? join(root, "docs/reliability.md") : undefined);
const command = ["pnpm reliability", ...positionals].join(" ");
const report = writeReport({ figures, command, at: new Date() });
if (out === undefined) process.stdout.write(report);
else writeFileSync(out, report);

async function runTests(): Promise<number> {
  const vitest = fileURLToPath(new URL("vitest.mjs", import.meta.resolve("vitest/package.json")));
  const folders = positionals.map((name) => `tests/${name}/`);
  const args = [vitest, "run", "--config", "vitest.reliability.config.ts", ...folders];
  const child = spawn(process.execPath, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, RELIABILITY_FIGURES: file },
  });
  const [code] = await once(child, "exit");
  return Number(code ?? 1);
}

function readFigures(text: string): Figure[] {
  return text.split("\n").flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
}
