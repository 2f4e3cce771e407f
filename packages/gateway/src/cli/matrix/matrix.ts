import { readFile, writeFile } from "node:fs/promises";
import { StartError } from "../../errors.ts";
import { readAccess } from "../../policy/access.ts";
import { createMatrix, type Matrix } from "../../policy/matrix.ts";
import { createMethodTable, permissionsIn } from "../../policy/method-table.ts";
import type { PublicService } from "../../service.ts";
import { readArgs, UsageError } from "../arguments.ts";
import type { ProgramIo } from "../command.ts";
import { load } from "../load.ts";
import { matrixHtml } from "./html.ts";
import { matrixText } from "./text.ts";

export const matrixHelp = `portico matrix [--format text|json|html] [--out <file>]
  Shows who may call each method, and who may read or set each guarded field: for every role of the file that
  ACCESS_FILE names, for callers without a role, and for callers without credentials.
    --format <format>   text, to be committed and compared (default); json, for programs; html, for people
    --out <file>        writes it into a file, in place of the standard output
`;

/**
 * Runs `portico matrix`. Needs the access file, and neither upstreams nor an identity provider.
 *
 * Throws a `UsageError` for arguments that make no sense, and a {@link StartError} for what would keep the gateway from
 * starting: policies and an access file that are wrong, or do not agree.
 *
 * @param args what follows `portico matrix`
 */
export async function matrixCommand(args: readonly string[], io: ProgramIo): Promise<void> {
  const { values } = readArgs(args, { format: { type: "string" }, out: { type: "string" } });
  const format = values.format ?? "text";
  const render = Object.hasOwn(renderers, format) ? renderers[format as keyof typeof renderers] : undefined;
  if (render === undefined)
    throw new UsageError(`--format is ${JSON.stringify(format)}: give ${Object.keys(renderers).join(", ")}`);
  const path = io.env["ACCESS_FILE"];
  if (path === undefined || path === "")
    throw new UsageError(
      'ACCESS_FILE is not set: write the path of a JSON file such as { "roles": { "admin": ["*"] } }',
    );
  const text = render(await readMatrix(path, (await load(io)).services));
  if (values.out === undefined) io.out(text);
  else await writeFile(values.out, text);
}

const renderers = {
  text: matrixText,
  json: (matrix: Matrix) => `${JSON.stringify(matrix, null, 2)}\n`,
  html: matrixHtml,
};

/** The access file is checked against the protos as at the start of the gateway. */
async function readMatrix(path: string, services: readonly PublicService[]): Promise<Matrix> {
  const methods = createMethodTable(services);
  const access = readAccess(await readAccessText(path), `ACCESS_FILE (${path})`, permissionsIn(methods));
  return createMatrix(methods, access);
}

/** The text of the access file. Throws a {@link StartError} if it cannot be read. */
export async function readAccessText(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartError([`ACCESS_FILE is "${path}", which cannot be read: ${reason}`]);
  }
}
