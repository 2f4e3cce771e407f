import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { reasons } from "../reasons.ts";
import { errorsCommand, errorsPage } from "./errors.ts";

const page = errorsPage();

test("the committed page of errors is what the catalogue says", () => {
  const path = fileURLToPath(new URL("../../../../docs/errors.md", import.meta.url));
  expect(page, `docs/errors.md is not what the catalogue says. Write it with\n${errorsCommand}`).toBe(
    readFileSync(path, "utf8"),
  );
});

test("every reason is there once, in the section of its code", () => {
  const sections = page.split(/^## /m);
  for (const [reason, { message, when, remedy }] of Object.entries(reasons)) {
    const containing = sections.filter((section) => section.includes(`| \`${reason}\` `));
    expect(containing, reason).toHaveLength(1);
    for (const text of [message, when, remedy]) expect(containing[0]).toContain(text.replaceAll("|", "\\|"));
  }
  expect(page).toMatch(/^## `permission_denied`\n\ngRPC status 7, HTTP status 403\.\n/m);
});

test("every table has as many cells in each row as in its head", () => {
  const tables = page.match(/(?:^\|.*\n)+/gm) ?? [];
  expect(tables.length).toBeGreaterThan(10);
  for (const table of tables) {
    const widths = table
      .trimEnd()
      .split("\n")
      .map((line) => line.split(/(?<!\\)\|/).length);
    expect(new Set(widths).size).toBe(1);
  }
});
