import { writeFile } from "node:fs/promises";
import type { App } from "../../application.ts";
import { createMethodTable, type MethodEntry } from "../../policy/method-table.ts";
import { readArgs, UsageError } from "../arguments.ts";
import type { ProgramIo } from "../command.ts";
import { load } from "../load.ts";
import { loaderKeysOf } from "./loaders.ts";
import { planMermaid } from "./mermaid.ts";
import { type MethodPlan, planMethod } from "./method.ts";
import { planSvg } from "./svg.ts";
import { planText } from "./text.ts";
import type { Plan } from "./words.ts";

export const planHelp = `portico plan [method] [--rows <number>] [--format text|json|mermaid|svg] [--out <file>]
  Shows the calls to internal services that a public method makes, at the most: what runs side by side, what waits for
  what, and which field of the answer needs which call. Runs the handlers, against services that are simulated.
    [method]            such as ListCrates, CrateService/ListCrates, or with the package; default: all methods
    --rows <number>     how many items a list has that nothing limits, from 1 to 10000 (default 500)
    --format <format>   text, to be committed and compared (default); json, for programs; mermaid and svg, for people
    --out <file>        writes it into a file, in place of the standard output
`;

/**
 * Runs `portico plan`. Needs neither upstreams nor configuration.
 *
 * Throws a `UsageError` for arguments that make no sense, an unknown method among them, and a `StartError` for what would
 * keep the gateway from starting.
 *
 * @param args what follows `portico plan`
 */
export async function planCommand(args: readonly string[], io: ProgramIo): Promise<void> {
  const { values, positionals } = readArgs(
    args,
    { rows: { type: "string" }, format: { type: "string" }, out: { type: "string" } },
    true,
  );
  const format = values.format ?? "text";
  const render = Object.hasOwn(renderers, format) ? renderers[format as keyof typeof renderers] : undefined;
  if (render === undefined)
    throw new UsageError(`--format is ${JSON.stringify(format)}: give ${Object.keys(renderers).join(", ")}`);
  const [name, ...surplus] = positionals;
  if (surplus.length > 0)
    throw new UsageError(`give one method, or none for all: got ${positionals.join(" ")}`);
  const text = render(await createPlan(await load(io), name, rowsOf(values.rows)));
  if (values.out === undefined) io.out(text);
  else await writeFile(values.out, text);
}

const renderers = {
  text: planText,
  json: (plan: Plan) => `${JSON.stringify(plan, null, 2)}\n`,
  mermaid: planMermaid,
  svg: planSvg,
};

async function createPlan(app: App, name: string | undefined, rows: number): Promise<Plan> {
  const methods: MethodPlan[] = [];
  const loaderKeys = loaderKeysOf(app);
  const entries = [...createMethodTable(app.services).values()];
  for (const entry of name === undefined ? entries : chosen(entries, name))
    methods.push(await planMethod(entry, { rows, loaderKeys }));
  return { rows, methods };
}

/** The methods whose name ends so; a dot does where a slash stands. */
function chosen(entries: readonly MethodEntry[], name: string): readonly MethodEntry[] {
  const found = entries.filter(({ method }) => {
    const { typeName, name: service } = method.parent;
    const names = [method.name, `${service}.${method.name}`, `${typeName}.${method.name}`];
    return names.includes(name.replace("/", "."));
  });
  if (found.length > 0) return found;
  const names = entries.map((entry) => `\n  ${entry.name}`).join("");
  throw new UsageError(`${JSON.stringify(name)} is no method of this API, which has:${names}`);
}

const maxRows = 10_000;

function rowsOf(text = "500"): number {
  const rows = /^\d{1,5}$/.test(text) ? Number(text) : 0;
  if (rows >= 1 && rows <= maxRows) return rows;
  throw new UsageError(`--rows is ${JSON.stringify(text)}: give a whole number from 1 to ${maxRows}`);
}
