import { formatLimit } from "../../policy/limits/limits.ts";
import type { Matrix, MatrixField, MatrixMethod, MatrixSubject } from "../../policy/matrix.ts";
import { byteCount, partsOf, sharersOf, shortTime, visible } from "./words.ts";

/**
 * The matrix as text to be committed and reviewed: a line for each method and guarded field, which stays as it is while
 * its policy does. The width of a column is a multiple of a step, so that a longer name seldom moves every line.
 */
export function matrixText(matrix: Matrix): string {
  const services = Map.groupBy(matrix.methods, ({ name }) => partsOf(name)[0]);
  const tables = [...services].map(([service, methods]) => ({
    title: service,
    rows: methods.map(methodCells),
  }));
  if (matrix.fields.length > 0) tables.push({ title: "guarded fields", rows: matrix.fields.map(fieldCells) });
  const head = [...matrix.subjects.map(labelOf), "needs", "besides"];
  const lines = tables.flatMap(({ title, rows }) => [[title, ...head], ...rows]);
  const widths = ["", ...head].map((_, column) => widthOf(lines, column, stepOf(column, head.length)));
  const write = (cells: Cells): string =>
    cells
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join("  ")
      .trimEnd();
  return [
    legend,
    ...subjectLines(matrix.subjects),
    ...tables.flatMap(({ title, rows }) => ["", ...[[title, ...head], ...rows].map(write)]),
    "",
  ].join("\n");
}

const legend = `Who may call each method, and who may read or set each guarded field.
Written by: npx -y pnpm@12 portico matrix

  yes  may            if   may, if the condition at the end of the line is true of the caller and the request
  -    is refused     .    is of another audience, for whom alone there is such a method

  anonymous      callers without credentials
  authenticated  callers with credentials, but without a role
  all others     callers with this role of the access file`;

/** A name, a verdict for each subject, what is needed, and all else. */
type Cells = readonly string[];

function methodCells(method: MatrixMethod): Cells {
  const { name, needs, verdicts, conditions } = method;
  return [
    `  ${partsOf(name)[1]}`,
    ...verdicts.map((verdict) => signs[verdict]),
    typeof needs === "string" ? needs : needs.join(" + "),
    [...facts(method), ...conditions.map((source) => `if ${visible(source)}`)].join(", "),
  ];
}

function fieldCells({ action, name, verdicts, permission, without, methods }: MatrixField): Cells {
  return [
    `  ${action} ${name}`,
    ...verdicts.map((verdict) => signs[verdict]),
    permission,
    `else ${without}: ${methods.map((method) => partsOf(method)[1]).join(", ")}`,
  ];
}

const signs = { yes: "yes", if: "if", no: "-", absent: "." } as const;

function facts(method: MatrixMethod): string[] {
  const { audience, bucket, cache, cost, deprecated, maxRequestBytes, mutates, stream, timeoutMs } = method;
  return [
    ...(deprecated ? ["deprecated"] : []),
    ...(mutates ? ["may change something"] : []),
    ...(stream ? ["stream"] : []),
    ...(audience === "public" ? [] : [`audience ${audience}`]),
    ...(cost === 1 ? [] : [`costs ${cost} calls`]),
    ...(bucket === null ? [] : [`own limit ${formatLimit(bucket)}`]),
    ...(cache === null ? [] : [cacheFact(cache)]),
    ...(timeoutMs === null ? [] : [`at most ${shortTime(timeoutMs)}`]),
    ...(maxRequestBytes === null ? [] : [`requests up to ${byteCount(maxRequestBytes)}`]),
  ];
}

function cacheFact(cache: NonNullable<MatrixMethod["cache"]>): string {
  const stale = cache.staleMs === 0 ? "" : ` and ${shortTime(cache.staleMs)} stale`;
  return `kept ${shortTime(cache.ttlMs)}${stale} ${sharersOf(cache)}`;
}

/** A role may have the name of one of the other columns. */
function labelOf({ kind, name }: MatrixSubject): string {
  return kind === "role" && (name === "anonymous" || name === "authenticated")
    ? `role:${name}`
    : visible(name);
}

/** Only the roles of which there is more to say. */
function subjectLines(subjects: readonly MatrixSubject[]): string[] {
  return subjects
    .filter(({ audience }) => audience !== "public")
    .map((subject) => `  ${labelOf(subject).padEnd(13)}  audience ${subject.audience}`);
}

function stepOf(column: number, subjectsEnd: number): number {
  if (column === 0) return 16;
  return column === subjectsEnd - 1 ? 8 : 1;
}

function widthOf(lines: readonly Cells[], column: number, step: number): number {
  const longest = Math.max(0, ...lines.map((cells) => cells[column]?.length ?? 0));
  return Math.ceil(longest / step) * step;
}
