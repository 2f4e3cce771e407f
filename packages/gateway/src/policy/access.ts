import * as z from "zod";
import { StartError } from "../errors.ts";
import { readJsonFile } from "../json-file.ts";

/** A permission, or with a trailing `*` all that begin so: `orders.read`, `orders.*`, `*`. */
const pattern = z
  .string()
  .regex(/^(\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?)$/, "must be like orders.read, orders.* or *");

/** The access file: what each role may do, and what comes with having credentials or with having none. */
const accessSchema = z.strictObject({
  roles: z.record(z.string(), z.array(pattern)),
  anonymous: z.array(pattern).default([]),
  authenticated: z.array(pattern).default([]),
  /** The roles of those who are more than the public. */
  audiences: z
    .strictObject({
      partner: z.array(z.string()).default([]),
      internal: z.array(z.string()).default([]),
    })
    .default({ partner: [], internal: [] }),
  /** The roles of client certificates, by their names. */
  certificates: z.record(z.string(), z.array(z.string())).default({}),
  /** Every permission there is, with what it means. Without it, those that the protos name. */
  permissions: z.record(pattern, z.string()).optional(),
});

/** The content of an access file. */
export type AccessFile = z.infer<typeof accessSchema>;

/**
 * Reads the text of an access file. Throws a {@link StartError} that lists every problem in it.
 *
 * @example parseAccess('{ "roles": { "support": ["orders.*"] } }', "access.json")
 */
export function parseAccess(text: string, file: string): AccessFile {
  const access = readJsonFile(accessSchema, text, file);
  const problems = unknownRoles(access).map((problem) => `${file}: ${problem}`);
  if (problems.length > 0) throw new StartError(problems);
  return access;
}

/**
 * Reads the text of an access file that has to agree with the protos. Throws a {@link StartError} that lists every problem
 * in it, or between the two.
 *
 * @param named the permissions that the protos name
 */
export function readAccess(text: string, file: string, named: NamedPermissions): AccessFile {
  const access = parseAccess(text, file);
  const problems = accessProblems(access, named, file);
  if (problems.length > 0) throw new StartError(problems);
  return access;
}

/** Roles that are spoken of, but not there. */
function unknownRoles({ roles, audiences, certificates }: AccessFile): string[] {
  const places = [
    ...Object.entries(audiences).map(([name, given]) => ({ where: `audiences.${name}`, given })),
    ...Object.entries(certificates).map(([name, given]) => ({ where: `certificates.${name}`, given })),
  ];
  return places.flatMap(({ where, given }) =>
    given
      .filter((role) => !Object.hasOwn(roles, role))
      .map((role) => `${where}: there is no role "${role}": the roles are ${Object.keys(roles).join(", ")}`),
  );
}

/** Every permission that the protos name, and where each is named first. */
export type NamedPermissions = ReadonlyMap<string, string>;

/**
 * What an access file and the protos do not agree on: a permission that nothing asks for is a slip of the pen, and so is
 * one that nobody can have. What the file lists under `permissions` is known as well: other gateways may share the file.
 *
 * @param file how to call the file in a message
 */
export function accessProblems(access: AccessFile, named: NamedPermissions, file: string): string[] {
  const listed = access.permissions === undefined ? undefined : new Set(Object.keys(access.permissions));
  const known = [...new Set([...named.keys(), ...(listed ?? [])])].sort();
  const given = [
    ...Object.entries(access.roles).map(([role, patterns]) => ({ where: `roles.${role}`, patterns })),
    { where: "anonymous", patterns: access.anonymous },
    { where: "authenticated", patterns: access.authenticated },
  ];
  const isGranted = matcher(given.flatMap(({ patterns }) => patterns));
  return [
    ...given.flatMap(({ where, patterns }) =>
      patterns
        .filter((pattern) => pattern !== "*" && !known.some(matcher([pattern])))
        .map(
          (pattern) =>
            `${file}: ${where}: ${pattern} is no permission of this API: it has ${known.join(", ")}`,
        ),
    ),
    ...[...named].flatMap(([permission, where]) => {
      if (listed !== undefined && !listed.has(permission))
        return [
          `${where} asks for ${permission}, which ${file} does not list under permissions: add it, or mend the proto`,
        ];
      if (isGranted(permission)) return [];
      return [
        `${where} asks for ${permission}, which no role in ${file} grants: add it to a role, or mend the proto`,
      ];
    }),
  ];
}

/** Tells whether one of the patterns is the permission, or stands for it. */
export function matcher(patterns: readonly string[]): (permission: string) => boolean {
  const exact = new Set(patterns.filter((entry) => !entry.endsWith("*")));
  const prefixes = patterns.filter((entry) => entry.endsWith("*")).map((entry) => entry.slice(0, -1));
  return (permission) => exact.has(permission) || prefixes.some((prefix) => permission.startsWith(prefix));
}
