import * as z from "zod";
import { StartError } from "../errors.ts";
import type { Principal } from "./principal.ts";

/** Answers whether a principal has a permission. */
export type Grants = (principal: Principal, permission: string) => boolean;

/** A permission, or with a trailing `*` all that begin so: `orders.read`, `orders.*`, `*`. */
const pattern = z
  .string()
  .regex(/^(\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?)$/, "must be like orders.read, orders.* or *");

/** The access file: what each role may do, and what comes with having credentials or with having none. */
const accessSchema = z.strictObject({
  roles: z.record(z.string(), z.array(pattern)),
  anonymous: z.array(pattern).default([]),
  authenticated: z.array(pattern).default([]),
});

/** The content of an access file. */
export type Access = z.infer<typeof accessSchema>;

/**
 * Reads the text of an access file. Throws a {@link StartError} that lists every problem in it.
 *
 * @example parseAccess('{ "roles": { "support": ["orders.*"] } }', "access.json")
 */
export function parseAccess(text: string, file: string): Access {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    throw new StartError([`${file} is not JSON: ${error instanceof Error ? error.message : String(error)}`]);
  }
  const result = accessSchema.safeParse(json);
  if (result.success) return result.data;
  throw new StartError(
    result.error.issues.map((issue) => `${file}: ${issue.path.join(".") || "the file"}: ${issue.message}`),
  );
}

/** Compiles an access file. A role that the file does not name grants nothing. */
export function createGrants(access: Access): Grants {
  const roles = new Map(Object.entries(access.roles).map(([role, patterns]) => [role, matcher(patterns)]));
  const anonymous = matcher(access.anonymous);
  const authenticated = matcher(access.authenticated);
  return (principal, permission) => {
    if (principal.kind === "anonymous") return anonymous(permission);
    return (
      authenticated(permission) || principal.roles.some((role) => roles.get(role)?.(permission) === true)
    );
  };
}

function matcher(patterns: readonly string[]): (permission: string) => boolean {
  const exact = new Set(patterns.filter((entry) => !entry.endsWith("*")));
  const prefixes = patterns.filter((entry) => entry.endsWith("*")).map((entry) => entry.slice(0, -1));
  return (permission) => exact.has(permission) || prefixes.some((prefix) => permission.startsWith(prefix));
}
