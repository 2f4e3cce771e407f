import { readFile } from "node:fs/promises";
import { StartError } from "../../errors.ts";
import {
  type ApiKeyEntry,
  type ApiKeys,
  generateApiKey,
  parseApiKeys,
} from "../../policy/identity/api-keys.ts";
import { readArgs, UsageError } from "../arguments.ts";
import { changeFile, unlessMissing } from "./locked-file.ts";
import { checkedEntry, fileOf, parseExpiry, refuseUnknownRoles } from "./options.ts";

/** What a command has of the world. */
export interface CommandIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** Results: to the standard output. */
  readonly out: (text: string) => void;
  /** What people should know: to the standard error. */
  readonly err: (text: string) => void;
}

/**
 * Runs `portico keys`: creates, lists and revokes the API keys in a file. A gateway that runs takes the change up by
 * itself, within a second or two.
 *
 * A new key alone goes to the standard output, so that a script can catch it; it is stored nowhere.
 *
 * @param args what follows `portico keys`
 * @returns the exit code: 0, 1 if something failed, 2 if the command makes no sense as it was given. Never rejects.
 * @example process.exitCode = await keysCommand(["create", "--name", "Acme", "--roles", "viewer"], io);
 */
export async function keysCommand(args: readonly string[], io: CommandIo): Promise<number> {
  const [name = "", ...rest] = args;
  try {
    if (["--help", "-h", "help"].includes(name) || rest.includes("--help") || rest.includes("-h")) {
      io.out(help);
      return 0;
    }
    const command = Object.hasOwn(commands, name) ? commands[name as keyof typeof commands] : undefined;
    if (command === undefined)
      throw new UsageError(
        `${name === "" ? "nothing" : JSON.stringify(name)} is no command: give create, list or revoke`,
      );
    await command(rest, io);
    return 0;
  } catch (error) {
    const isUsage = error instanceof UsageError;
    for (const line of linesOf(error)) io.err(`${line}\n`);
    if (isUsage) io.err('"portico keys --help" tells more.\n');
    return isUsage ? 2 : 1;
  }
}

const commands = { create, list, revoke };

const help = `portico keys create --name <name> --roles <role,role> [options]
  Creates an API key and prints it, once: only its hash is kept.
    --name <name>       whose key it is, for people
    --roles <role,..>   roles of the access file; checked against it if ACCESS_FILE is set
    --tenant <tenant>   the customer that the caller belongs to
    --expires <when>    90d for 90 days, or 2027-01-31 for the first moment of that day (UTC); never by default
    --limit <limits>    the key's own rate limit in place of the common one, such as "100/1m" or "50/1s, 10000/1d";
                        may be given several times; "off" for none

portico keys list [--json]
  Shows all keys, without their hashes.

portico keys revoke <id>
  Ends a key for good. Its entry stays in the file.

The file is what API_KEYS_FILE says, or:
    --file <path>
`;

async function create(args: readonly string[], io: CommandIo): Promise<void> {
  const { values } = readArgs(args, {
    name: { type: "string" },
    roles: { type: "string" },
    tenant: { type: "string" },
    expires: { type: "string" },
    limit: { type: "string", multiple: true },
    file: { type: "string" },
  });
  const file = fileOf(values.file, io.env);
  const roles = (values.roles ?? "").split(",").map((role) => role.trim());
  if (values.name === undefined)
    throw new UsageError('--name is missing: give whose key it is, such as "Acme"');
  if (roles.includes(""))
    throw new UsageError(
      `--roles is ${values.roles === undefined ? "missing" : JSON.stringify(values.roles)}: give roles joined by commas, such as viewer,support`,
    );
  const { id, key, sha256 } = generateApiKey();
  const entry = checkedEntry({
    id,
    name: values.name,
    sha256,
    roles,
    ...(values.tenant !== undefined && { tenant: values.tenant }),
    createdAt: iso(io.now()),
    ...(values.expires !== undefined && { expiresAt: iso(parseExpiry(values.expires, io.now())) }),
    ...(values.limit !== undefined && { limits: values.limit }),
  });
  await refuseUnknownRoles(roles, io.env);
  await changeFile(file.path, (text) => write([...read(text, file.name).entries, entry]), io.now);
  io.err(`The API key ${id} is shown only now; ${file.path} keeps its hash alone. Send it as x-api-key:\n`);
  io.out(`${key}\n`);
}

async function list(args: readonly string[], io: CommandIo): Promise<void> {
  const { values } = readArgs(args, { json: { type: "boolean" }, file: { type: "string" } });
  const file = fileOf(values.file, io.env);
  const text = await unlessMissing(readFile(file.path, "utf8"));
  if (text === undefined) throw new Error(`${file.name} is not there: "portico keys create" makes it`);
  const keys = read(text, file.name).entries.map(({ sha256: _, ...shown }) => ({
    ...shown,
    state: stateOf(shown, io.now()),
  }));
  if (values.json) return io.out(`${JSON.stringify(keys, null, 2)}\n`);
  const head = ["ID", "NAME", "ROLES", "TENANT", "CREATED", "EXPIRES", "STATE"];
  const rows = keys.map(({ id, name, roles, tenant = "-", createdAt, expiresAt, state }) => [
    id,
    name,
    roles.join(",") || "-",
    tenant,
    dayOf(createdAt),
    expiresAt === undefined ? "never" : dayOf(expiresAt),
    state,
  ]);
  io.out(table([head, ...rows]));
}

async function revoke(args: readonly string[], io: CommandIo): Promise<void> {
  const { values, positionals } = readArgs(args, { file: { type: "string" } }, true);
  const file = fileOf(values.file, io.env);
  const [id = ""] = positionals;
  // What was given is not repeated: it may be a whole key.
  if (positionals.length !== 1 || !/^[a-z0-9]{12}$/.test(id))
    throw new UsageError("revoke takes one id: the 12 characters between the first two _ of the key");
  let before: ApiKeyEntry | undefined;
  await changeFile(
    file.path,
    (text) => {
      const { entries } = read(text, file.name);
      before = entries.find((entry) => entry.id === id);
      if (before === undefined) throw new Error(`${file.name} has no key ${id}: see "portico keys list"`);
      const revokedAt = before.revokedAt ?? iso(io.now());
      return write(entries.map((entry) => (entry.id === id ? { ...entry, revokedAt } : entry)));
    },
    io.now,
  );
  const when = before?.revokedAt;
  io.out(
    when === undefined ? `The API key ${id} is revoked.\n` : `The API key ${id} was revoked at ${when}.\n`,
  );
}

function read(text: string | undefined, name: string): ApiKeys {
  return parseApiKeys(text ?? '{ "keys": [] }', name);
}

function write(keys: readonly ApiKeyEntry[]): string {
  return `${JSON.stringify({ keys }, null, 2)}\n`;
}

function stateOf({ revokedAt, expiresAt }: Omit<ApiKeyEntry, "sha256">, now: number): string {
  if (revokedAt !== undefined) return "revoked";
  return expiresAt !== undefined && now >= Date.parse(expiresAt) ? "expired" : "active";
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: readonly string[]) =>
    row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ");
  return rows.map((row) => `${line(row).trimEnd()}\n`).join("");
}

function linesOf(error: unknown): readonly string[] {
  if (error instanceof StartError) return error.problems;
  return [error instanceof Error ? error.message : String(error)];
}

function iso(time: number): string {
  return new Date(time).toISOString();
}

function dayOf(time: string): string {
  return iso(Date.parse(time)).slice(0, 10);
}
