import type { Matrix, MatrixField, MatrixMethod, MatrixSubject, MethodVerdict } from "../../policy/matrix.ts";
import { style } from "./style.ts";
import { byteCount, longTime, partsOf, sharersOf, visible, wordsOf } from "./words.ts";

/** The matrix as a page for people who do not read protos: one file, without scripts, that can be mailed and printed. */
export function matrixHtml(matrix: Matrix): string {
  const services = Map.groupBy(matrix.methods, ({ name }) => partsOf(name)[0]);
  const groups = [...services].map(([service, methods]) => ({
    title: `${words(lastPart(service).replace(/Service$/, ""))} ${code(service)}`,
    rows: methods.map((method) => row(methodHead(method, matrix), method.verdicts, matrix.subjects)),
  }));
  const fields = matrix.fields.map((field) => row(fieldHead(field, matrix), field.verdicts, matrix.subjects));
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Who may do what</title>
<style>${style}</style>
</head>
<body>
<h1>Who may do what</h1>
<p>Every method of this API and every protected field, for each role and for callers without one. A caller with several
roles may do what any of them may. This page is written from what the gateway enforces, not by hand.</p>
<ul class="legend">
${legend.map(([verdict, meaning]) => `<li>${badge(verdict)} <span>${meaning}</span></li>`).join("\n")}
</ul>
<h2 id="methods">Methods</h2>
${table("methods", "Method", matrix.subjects, groups)}
${fields.length === 0 ? "" : fieldSection(fields, matrix)}</body>
</html>
`;
}

const legend: readonly (readonly [MethodVerdict, string])[] = [
  ["yes", "The caller may."],
  ["if", "The caller may, if the condition below the name is met."],
  ["no", "The caller is refused."],
  ["absent", "Made for others: for this caller, it does not exist."],
];

const faces = {
  yes: { sign: "✓", word: "Yes" },
  if: { sign: "◐", word: "If …" },
  no: { sign: "✕", word: "No" },
  absent: { sign: "–", word: "Hidden" },
} as const;

function badge(verdict: MethodVerdict): string {
  return `<span class="verdict ${verdict}">${face(verdict)}</span>`;
}

function face(verdict: MethodVerdict): string {
  const { sign, word } = faces[verdict];
  return `<span><span aria-hidden="true">${sign}</span> ${word}</span>`;
}

function fieldSection(rows: readonly string[], { subjects }: Matrix): string {
  return `<h2 id="fields">Protected fields</h2>
<p>Parts of requests and answers that not everyone may set or read, even where they may call the method.</p>
${table("fields", "Field", subjects, [{ title: undefined, rows }])}
`;
}

interface Group {
  readonly title: string | undefined;
  readonly rows: readonly string[];
}

function table(
  id: string,
  what: string,
  subjects: readonly MatrixSubject[],
  groups: readonly Group[],
): string {
  const heads = subjects.map(
    (subject) => `<th scope="col" role="columnheader" class="subject">${subjectHead(subject)}</th>`,
  );
  // The roles hold on to what the narrow layout, which is no table to look at, would take away.
  return `<div class="wide" role="region" aria-labelledby="${id}" tabindex="0">
<table role="table" aria-labelledby="${id}">
<thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">${what}</th>${heads.join("")}</tr></thead>
${groups.map((group) => body(group, subjects.length + 1)).join("\n")}
</table>
</div>`;
}

function body({ title, rows }: Group, columns: number): string {
  const head =
    title === undefined
      ? ""
      : `<tr role="row" class="group"><th scope="rowgroup" role="rowheader" colspan="${columns}"><span>${title}</span></th></tr>\n`;
  return `<tbody role="rowgroup">\n${head}${rows.join("\n")}\n</tbody>`;
}

function row(head: string, verdicts: readonly MethodVerdict[], subjects: readonly MatrixSubject[]): string {
  const cells = verdicts.map((verdict, index) => {
    const subject = subjects[index];
    const label = subject === undefined ? "" : escaped(plainLabel(subject));
    return `<td role="cell" class="verdict ${verdict}" data-subject="${label}">${face(verdict)}</td>`;
  });
  return `<tr role="row"><th scope="row" role="rowheader">${head}</th>${cells.join("")}</tr>`;
}

function subjectHead(subject: MatrixSubject): string {
  const { kind, name, audience } = subject;
  if (kind !== "role") return plainLabel(subject);
  const more = audience === "public" ? "" : `, ${audience}`;
  return `${escaped(name)} <span class="quiet">role${more}</span>`;
}

function plainLabel({ kind, name }: MatrixSubject): string {
  return { anonymous: "Without credentials", authenticated: "Without a role", role: name }[kind];
}

function methodHead(method: MatrixMethod, { permissions }: Matrix): string {
  const { name, needs, conditions } = method;
  const notes = [
    typeof needs === "string"
      ? openness[needs]
      : `Needs: ${needs.map((it) => permission(it, permissions)).join(", and: ")}`,
    ...conditions.map((source) => `Only if: ${code(source)}`),
    ...facts(method),
  ];
  return head(words(partsOf(name)[1]), partsOf(name)[1], notes);
}

const openness = {
  anyone: "Open to everyone.",
  credentials: "Open to every caller with credentials.",
} as const;

function fieldHead(
  { name, action, permission: needed, without, methods }: MatrixField,
  { permissions }: Matrix,
): string {
  const [message = "", field = ""] = name.split(".").slice(-2);
  const title = `${action === "read" ? "Read" : "Set"} ${words(field).toLowerCase()} of ${words(message).toLowerCase()}`;
  return head(title, name, [
    `Needs: ${permission(needed, permissions)}`,
    `Without it: ${consequences[without]}`,
    `In: ${methods.map((method) => words(partsOf(method)[1])).join(", ")}`,
  ]);
}

const consequences = {
  "left out": "the answer comes without the field.",
  "call refused": "the call is refused.",
  "refused if set": "a call that sets the field is refused.",
} as const;

/** All texts but the notes are escaped here. */
function head(title: string, name: string, notes: readonly string[]): string {
  const list = notes.map((note) => `<li>${note}</li>`).join("");
  return `<span class="name">${title}</span> ${code(name)}<ul class="notes">${list}</ul>`;
}

function facts(method: MatrixMethod): string[] {
  const { audience, bucket, cache, cost, deprecated, maxRequestBytes, mutates, stream, timeoutMs } = method;
  return [
    ...(audience === "public" ? [] : [audiences[audience]]),
    ...(deprecated ? ["On its way out: not for new programs."] : []),
    ...(mutates ? ["May change something."] : []),
    ...(stream ? ["Sends a stream of answers."] : []),
    ...(cost === 1 ? [] : [`Counts as ${cost} calls.`]),
    ...(bucket === null
      ? []
      : [`At most ${bucket.calls} calls in ${longTime(bucket.windowSeconds * 1_000)} for each caller.`]),
    ...(cache === null
      ? []
      : [`Answers are kept for ${longTime(cache.ttlMs + cache.staleMs)}, ${sharersOf(cache)}.`]),
    ...(timeoutMs === null ? [] : [`Takes at most ${longTime(timeoutMs)}.`]),
    ...(maxRequestBytes === null ? [] : [`Requests of at most ${byteCount(maxRequestBytes)}.`]),
  ];
}

const audiences = {
  partner: "Made for partners and the company itself.",
  internal: "Made for the company itself.",
} as const;

function permission(name: string, meanings: Matrix["permissions"]): string {
  const meaning = Object.hasOwn(meanings, name) ? meanings[name] : undefined;
  return meaning === undefined ? code(name) : `${escaped(meaning)} ${code(name)}`;
}

function words(name: string): string {
  return escaped(wordsOf(name));
}

function lastPart(name: string): string {
  return name.split(".").at(-1) ?? name;
}

function code(text: string): string {
  return `<code>${escaped(text)}</code>`;
}

function escaped(text: string): string {
  return visible(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
