import { relative } from "node:path";
import type { DescMessage } from "@bufbuild/protobuf";
import type { App } from "../../application.ts";
import { readArgs, UsageError } from "../arguments.ts";
import type { ProgramIo } from "../command.ts";
import { decisionsOf } from "../drift/decisions.ts";
import { ledgerPath } from "../drift/drift.ts";
import { type Ledger, ledgerText, readLedger } from "../drift/ledger.ts";
import { coveredBy } from "../drift/report.ts";
import { insideOf, nameOf, reachable, surfaceOf } from "../drift/surface.ts";
import { load } from "../load.ts";
import { apply, type Change, exists, readProto, readSources, repositoryOf } from "./files.ts";
import { type ExposePlan, type Exposure, planExposure, type Sources } from "./plan.ts";
import { ExposeError } from "./route.ts";

export const exposeHelp = `portico expose <internal field> --as <public field> [--permission <permission>] [--dry-run]
  Exposes a field of an internal service: writes the public field with the next free number, its entry in the view where
  it needs one, and what an enum needs; takes it out of the ledger, generates, and checks. All of it, or nothing.
    --as <field>            such as acme.api.users.v1.User.phone; User.phone, where only one public message is called so
    --permission <name>     who may read it: callers with this permission; without, all who may call the methods. A new one
                            comes into the access file first, if that lists its permissions
    --dry-run               says what would be written, and writes nothing
`;

/**
 * Runs `portico expose`. Throws a `UsageError` for arguments that make no sense, and a `StartError` if the API does not load.
 *
 * @param args what follows `portico expose`
 * @returns the exit code: 0, or 1 if nothing was changed
 */
export async function exposeCommand(args: readonly string[], io: ProgramIo): Promise<number> {
  const options = {
    as: { type: "string" },
    permission: { type: "string" },
    "dry-run": { type: "boolean" },
  } as const;
  const { values, positionals } = readArgs(args, options, true);
  try {
    const exposure = readExposure(await load(io), positionals, values.as, values.permission);
    await expose(exposure, values["dry-run"] === true, io);
    return 0;
  } catch (error) {
    if (!(error instanceof ExposeError)) throw error;
    io.err(`${error.message}\nNothing was changed.\n`);
    return 1;
  }
}

async function expose(exposure: Exposure, isDry: boolean, io: ProgramIo): Promise<void> {
  const repository = await repositoryOf(io.project);
  const plan = planExposure(exposure, await readAll(exposure, repository, io));
  const changes = [...plan.changes, ...(await ledgerChange(exposure, io))];
  if (!isDry) await apply(changes, repository, io.project);
  const renewed = isDry ? [] : await renewSnapshots(exposure, repository, io);
  io.out(textOf(exposure, plan, [...changes.map(({ path }) => path), ...renewed], isDry));
}

function readExposure(
  app: App,
  positionals: readonly string[],
  as: string | undefined,
  permission: string | undefined,
): Exposure {
  const [internal, ...surplus] = positionals;
  if (internal === undefined || surplus.length > 0)
    throw new UsageError("give one internal field, such as acme.users.v1.User.phone");
  if (as === undefined) throw new UsageError("--as is not given: name the public field, such as User.phone");
  if (permission !== undefined && !/^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$/.test(permission))
    throw new UsageError(
      `--permission is ${JSON.stringify(permission)}: give lower-case words joined by dots, such as users.read_phone`,
    );
  const element = surfaceOf(app.upstreams).get(internal);
  if (element === undefined)
    throw new UsageError(
      `${internal} is no field that the internal services have: give its full name, such as acme.users.v1.User.phone, and generate first if its proto is new`,
    );
  if (element.field === undefined)
    throw new UsageError(
      `${internal} is a value: add one to the public enum, and the map takes it by its name`,
    );
  return { app, origin: element.field, permission, ...readTarget(app, as) };
}

function readTarget(app: App, as: string): { readonly message: DescMessage; readonly name: string } {
  const dot = as.lastIndexOf(".");
  const [typeName, name] = [as.slice(0, Math.max(dot, 0)), as.slice(dot + 1)];
  if (typeName === "" || !/^[a-z][a-z0-9]*(_[a-z0-9]+)*$/.test(name))
    throw new UsageError(
      `--as is ${JSON.stringify(as)}: give a message and a field in lower_snake_case, such as User.work_phone`,
    );
  const all = publicMessages(app);
  const found = all.filter(
    (message) => message.typeName === typeName || message.typeName.endsWith(`.${typeName}`),
  );
  const [message, ...others] = found.some((it) => it.typeName === typeName)
    ? found.filter((it) => it.typeName === typeName)
    : found;
  if (message === undefined)
    throw new UsageError(
      `--as: there is no public message ${typeName}: there are ${all.map(({ typeName }) => typeName).join(", ")}`,
    );
  if (others.length > 0)
    throw new UsageError(
      `--as: ${typeName} is any of ${found.map(({ typeName }) => typeName).join(", ")}: give the full name`,
    );
  if (message.fields.some((field) => field.name === name))
    throw new UsageError(`--as: ${message.typeName} has a field ${name} already`);
  if (message.proto.reservedName.includes(name))
    throw new UsageError(`--as: ${message.typeName} has reserved the name ${name}: choose another`);
  return { message, name };
}

function publicMessages({ services }: App): readonly DescMessage[] {
  const methods = services.flatMap(({ desc }) => desc.methods);
  return [...reachable(methods.flatMap(({ input, output }) => [input, output]))].filter(
    (desc) => desc.kind === "message",
  );
}

async function readAll({ origin, message }: Exposure, repository: string, io: ProgramIo): Promise<Sources> {
  const inside = insideOf(origin);
  return {
    publicProto: await readProto(repository, message.file),
    internalProto: await readProto(repository, origin.parent.file),
    enumProto: inside?.kind === "enum" ? await readProto(repository, inside.file) : undefined,
    app: await readSources(io.project.appFolder),
  };
}

/** The ledger without what it says of the field, and of the values of its enum. */
async function ledgerChange({ app, origin }: Exposure, io: ProgramIo): Promise<Change[]> {
  const path = ledgerPath(io);
  const ledger = await readLedger(path);
  const surface = surfaceOf(app.upstreams);
  const { exposed } = decisionsOf(app);
  const inside = insideOf(origin);
  const isExposed = (name: string, parent: string): boolean =>
    exposed.has(name) || name === nameOf(origin) || (inside?.kind === "enum" && parent === inside.typeName);
  const keep = (entries: Readonly<Record<string, string>>) =>
    Object.fromEntries(
      Object.entries(entries).filter(
        ([entry]) => !coveredBy(entry, surface).every(({ name, parent }) => isExposed(name, parent.typeName)),
      ),
    );
  const rest: Ledger = { hidden: keep(ledger.hidden), handled: keep(ledger.handled) };
  const [before, after] = [ledgerText(ledger), ledgerText(rest)];
  return before === after ? [] : [{ path, after }];
}

/** What people review, where it is there: the matrix has a line for each guarded field, the plan names what needs a call. */
async function renewSnapshots(
  { permission }: Exposure,
  repository: string,
  io: ProgramIo,
): Promise<string[]> {
  const renewed: string[] = [];
  for (const name of permission === undefined ? (["plan"] as const) : (["plan", "matrix"] as const)) {
    const path = `${repository}/${snapshots[name]}`;
    if (!(await exists(path))) continue;
    const { code, output } = await io.project.run("portico", [name, "--out", path], ".");
    if (code === 0) renewed.push(path);
    else
      io.err(
        `${snapshots[name]} could not be renewed by "portico ${name} --out ${snapshots[name]}":\n${output}`,
      );
  }
  return renewed;
}

const snapshots = { plan: "docs/plans.txt", matrix: "docs/policy-matrix.txt" };

function textOf(exposure: Exposure, plan: ExposePlan, paths: readonly string[], isDry: boolean): string {
  const { app, message, permission, origin } = exposure;
  const methods = app.services
    .flatMap(({ desc }) => desc.methods)
    .filter(({ output }) => reachable([output]).has(message))
    .map(({ name }) => name);
  const readers =
    permission === undefined
      ? `whoever may call ${methods.join(", ")} can read it`
      : `callers with ${permission} can read it, by ${methods.join(", ")}`;
  return [
    `${nameOf(origin)} ${isDry ? "would be" : "is"} exposed as a field of ${message.typeName}:`,
    "",
    indent(plan.declared),
    ...(plan.entries.length === 0 ? [] : ["made in the view by", "", ...plan.entries.map(indent), ""]),
    isDry ? "It would change" : "Changed, besides what is generated:",
    ...paths.map((path) => `  ${relative("", path)}`),
    "",
    "To be reviewed:",
    `  - ${readers}`,
    "  - the comment came from the internal proto: write it for those who use the API",
    "  - the field and its number are a promise to all users of the SDK, from the next release on",
    ...(permission === undefined
      ? []
      : ["  - the matrix of the policy, and which roles of the access file grant the permission"]),
    "",
  ].join("\n");
}

function indent(text: string): string {
  return text.replace(/^(?=.)/gm, "  ");
}
