import { describe, expect, test } from "vitest";
import type { Matrix, MatrixField, MatrixMethod } from "../../policy/matrix.ts";
import { matrixHtml } from "./html.ts";
import { matrixText } from "./text.ts";

const method: MatrixMethod = {
  name: "acme.v1.CrateService/ListCratesOfOwner",
  needs: ["crates.read"],
  audience: "public",
  conditions: [],
  cost: 1,
  bucket: null,
  cache: null,
  timeoutMs: null,
  maxRequestBytes: null,
  mutates: false,
  stream: false,
  deprecated: false,
  verdicts: ["no", "if", "yes", "absent"],
};
const field: MatrixField = {
  name: "acme.v1.Crate.owner_name",
  action: "read",
  permission: "crates.read_owner",
  without: "left out",
  methods: [method.name],
  verdicts: ["no", "no", "yes", "no"],
};
const matrix: Matrix = {
  subjects: [
    { kind: "anonymous", name: "anonymous", audience: "public" },
    { kind: "authenticated", name: "authenticated", audience: "public" },
    { kind: "role", name: "keeper", audience: "internal" },
    { kind: "role", name: "guest", audience: "public" },
  ],
  permissions: { "crates.read": "See crates" },
  methods: [method],
  fields: [field],
};
const everything: Partial<MatrixMethod> = {
  needs: ["crates.read", "crates.audit"],
  audience: "partner",
  conditions: ["request.id == principal.subject", "now < request.until"],
  cost: 5,
  bucket: { calls: 120, windowSeconds: 60 },
  cache: { ttlMs: 5_000, staleMs: 250, scope: "tenant" },
  timeoutMs: 90_000,
  maxRequestBytes: 65_536,
  mutates: true,
  stream: true,
  deprecated: true,
};
const having = (parts: Partial<MatrixMethod>): Matrix => ({ ...matrix, methods: [{ ...method, ...parts }] });
/** The line about the method. */
const lineOf = (text: string) =>
  text.split("\n").find((line) => line.startsWith("  ListCratesOfOwner")) ?? "";

describe("as text", () => {
  test("a method is a line under its service, with a sign for each caller", () => {
    expect(matrixText(matrix)).toMatch(
      /\n\nacme\.v1\.CrateService +anonymous {2}authenticated {2}keeper {2}guest {2}needs +besides\n {2}ListCratesOfOwner +- {10}if {13}yes {5}\. {6}crates\.read\n/,
    );
  });

  test("a guarded field is a line at the end", () => {
    expect(matrixText(matrix)).toMatch(
      /\n\nguarded fields .*\n {2}read acme\.v1\.Crate\.owner_name +- +- +yes +- +crates\.read_owner +else left out: ListCratesOfOwner\n$/,
    );
    expect(matrixText({ ...matrix, fields: [] })).not.toContain("\nguarded fields");
  });

  test("a method has all that its policy says at the end of its line", () => {
    expect(lineOf(matrixText(having(everything)))).toMatch(
      / crates\.read \+ crates\.audit +deprecated, may change something, stream, audience partner, costs 5 calls, own limit 120\/1m, kept 5s and 250ms stale for each tenant, at most 90s, requests up to 64 KiB, if request\.id == principal\.subject, if now < request\.until$/,
    );
    expect(lineOf(matrixText(having({ needs: "anyone" })))).toMatch(/ anyone$/);
  });

  test("the roles of another audience are told", () => {
    expect(matrixText(matrix)).toMatch(/^ {2}keeper {9}audience internal$/m);
    expect(matrixText(matrix)).not.toMatch(/^ {2}guest/m);
  });

  test("a role with the name of another column can be told from it", () => {
    const subjects: Matrix["subjects"] = [
      ...matrix.subjects.slice(0, 3),
      { kind: "role", name: "anonymous", audience: "public" },
    ];
    expect(matrixText({ ...matrix, subjects })).toMatch(
      / anonymous {2}authenticated {2}keeper {2}role:anonymous /,
    );
  });

  test("another method does not move the lines that are there, as long as its name is of a usual length", () => {
    const more = { ...method, name: "acme.v1.CrateService/WatchCrates" };
    const [before, after] = [matrixText(matrix), matrixText({ ...matrix, methods: [method, more] })];
    expect(after.split("\n").filter((line) => !before.split("\n").includes(line))).toHaveLength(1);
  });

  test("a condition is one line, and hides nothing", () => {
    const hidden = "request.id == 'a'  // not\n    || true || 'a\u202e\u0007b' == request.id";
    expect(lineOf(matrixText(having({ conditions: [hidden] })))).toMatch(
      /if request\.id == 'a' {2}\/\/ not ⏎ \|\| true \|\| 'a\\u\{202e\}\\u\{7\}b' == request\.id$/,
    );
  });
});

describe("as HTML", () => {
  test("is one file, without scripts and without anything from elsewhere", () => {
    const html = matrixHtml(having(everything));
    expect(html).toMatch(/^<!doctype html>\n<html lang="en">/);
    expect(html).not.toMatch(/<script|<link|<img|src=|href=|@import|url\(|\bon\w+=/i);
  });

  test("says in words what a method needs and does", () => {
    const html = matrixHtml(having(everything));
    for (const text of [
      "List crates of owner</span> <code>ListCratesOfOwner</code>",
      "Crate <code>acme.v1.CrateService</code>",
      "Needs: See crates <code>crates.read</code>, and: <code>crates.audit</code>",
      "Only if: <code>request.id == principal.subject</code>",
      "Made for partners and the company itself.",
      "At most 120 calls in 1 minute for each caller.",
      "Takes at most 90 seconds.",
      "Requests of at most 64 KiB.",
      "Read owner name of crate</span> <code>acme.v1.Crate.owner_name</code>",
      "Without it: the answer comes without the field.",
    ])
      expect(html).toContain(text);
    expect(matrixHtml(having({ needs: "anyone" }))).toContain("Open to everyone.");
  });

  test("has a sign and a word for each verdict, not a color alone, with the caller that it is about", () => {
    const html = matrixHtml(matrix);
    for (const [verdict, subject, sign, word] of [
      ["no", "Without credentials", "✕", "No"],
      ["if", "Without a role", "◐", "If …"],
      ["yes", "keeper", "✓", "Yes"],
      ["absent", "guest", "–", "Hidden"],
    ])
      expect(html).toContain(
        `<td role="cell" class="verdict ${verdict}" data-subject="${subject}"><span><span aria-hidden="true">${sign}</span> ${word}</span></td>`,
      );
  });

  test("has a head for each row and column", () => {
    const html = matrixHtml(matrix);
    expect(html.match(/<th scope="col"/g)).toHaveLength(2 * (1 + matrix.subjects.length));
    expect(html.match(/<th scope="row"/g)).toHaveLength(2);
    expect(html.match(/<tr/g)?.length).toBe(html.match(/<\/tr>/g)?.length);
  });

  test("escapes whatever comes from protos and the access file", () => {
    const evil = `"><script>alert('1')</script>&amp;`;
    const html = matrixHtml({
      subjects: [{ kind: "role", name: evil, audience: "public" }],
      permissions: { "crates.read": evil },
      methods: [{ ...method, name: `${evil}/${evil}`, conditions: [evil], verdicts: ["yes"] }],
      fields: [{ ...field, name: `a.${evil}.${evil}`, methods: [`${evil}/${evil}`], verdicts: ["no"] }],
    });
    expect(html).not.toMatch(/<script|alert\('|&amp;|data-subject="">/);
    expect(html).toContain("&#60;script&#62;");
  });

  test("finds no meaning of a permission where every object has something", () => {
    expect(matrixHtml(having({ needs: ["constructor"] }))).toContain("Needs: <code>constructor</code>");
  });
});
