import { PublicError } from "../errors.ts";
import type { AccessFile } from "./access.ts";
import { authorize, refuseOutsiders } from "./authorize.ts";
import type { CacheRule } from "./cache-rule.ts";
import { conditionVerdict } from "./conditions/verdict.ts";
import type { FieldGuard } from "./fields/field-guard.ts";
import type { MethodEntry, MethodTable } from "./method-table.ts";
import { type Authenticated, anonymous, type Limit, type Principal, principalId } from "./principal.ts";
import { type Audience, createRightsOf, type Rights } from "./rights.ts";

/** Who may do what, as data: every public method and every guarded field against every kind of caller. */
export interface Matrix {
  /** Callers without credentials, callers with credentials but no role, then those of each role of the access file. */
  readonly subjects: readonly MatrixSubject[];
  /** What each permission means, as far as the access file says. */
  readonly permissions: Readonly<Record<string, string>>;
  readonly methods: readonly MatrixMethod[];
  readonly fields: readonly MatrixField[];
}

/** A kind of caller. */
export interface MatrixSubject {
  readonly kind: "anonymous" | "authenticated" | "role";
  /** The name of the role; for the others, their kind. */
  readonly name: string;
  readonly audience: Audience;
}

/** What the policy of a method comes to. `null` where it says nothing. Times are in milliseconds. */
export interface MatrixMethod {
  /** `package.Service/Method`. */
  readonly name: string;
  /** The permissions, all of them; or what else is enough. */
  readonly needs: "anyone" | "credentials" | readonly string[];
  readonly audience: Audience;
  /** The conditions in CEL, which must all hold. */
  readonly conditions: readonly string[];
  readonly cost: number;
  readonly bucket: Limit | null;
  readonly cache: CacheRule | null;
  readonly timeoutMs: number | null;
  readonly maxRequestBytes: number | null;
  readonly mutates: boolean;
  readonly stream: boolean;
  readonly deprecated: boolean;
  /** For each subject, in the order of theirs. */
  readonly verdicts: readonly MethodVerdict[];
}

/**
 * Whether calls are let in: `yes`; `if` a condition is true of the caller and the request; `no`; or the method is
 * `absent`, made for an audience that the caller does not belong to.
 */
export type MethodVerdict = "yes" | "if" | "no" | "absent";

/** Who may read, or set, a guarded field. A field that is guarded against both is there twice. */
export interface MatrixField {
  /** `package.Message.field`. */
  readonly name: string;
  readonly action: "read" | "set";
  readonly permission: string;
  /** What happens without it: the field is left out of answers, its methods are refused, or calls that set it are. */
  readonly without: "left out" | "call refused" | "refused if set";
  /** The methods whose answers, or requests, can have it. */
  readonly methods: readonly string[];
  /** For each subject, in the order of theirs. */
  readonly verdicts: readonly ("yes" | "no")[];
}

/**
 * Asks the functions that decide calls about every method and every kind of caller.
 *
 * A caller with several roles may do what any of them may, but for what conditions say of roles; so there is no column for
 * each set of roles.
 *
 * @param access an access file that agrees with the protos
 * @example JSON.stringify(createMatrix(createMethodTable(services), parseAccess(text, "access.json")))
 */
export function createMatrix(methods: MethodTable, access: AccessFile): Matrix {
  const rightsOf = createRightsOf(access, "matrix");
  const callers = callersOf(access).map((caller) => ({ ...caller, rights: rightsOf(caller.principal) }));
  return {
    subjects: callers.map(({ kind, name, rights }) => ({ kind, name, audience: rights.audience })),
    permissions: access.permissions ?? {},
    methods: [...methods.values()].map((entry) => methodRow(entry, callers)),
    fields: fieldRows(methods, callers),
  };
}

type Caller = Pick<MatrixSubject, "kind" | "name"> & {
  readonly principal: Principal;
  readonly rights: Rights;
};

function callersOf({ roles }: AccessFile): Omit<Caller, "rights">[] {
  return [
    { kind: "anonymous", name: "anonymous", principal: anonymous },
    { kind: "authenticated", name: "authenticated", principal: somebody() },
    ...Object.keys(roles).map((name) => ({ kind: "role" as const, name, principal: somebody(name) })),
  ];
}

function somebody(...roles: readonly string[]): Authenticated {
  const [subject, issuer] = ["somebody", "matrix"];
  return {
    kind: "token",
    id: principalId("token", issuer, subject),
    subject,
    issuer,
    tenant: undefined,
    roles,
  };
}

function methodRow(entry: MethodEntry, callers: readonly Caller[]): MatrixMethod {
  const { name, access, audience, conditions, cost, mutates, method } = entry;
  const permissions = access.kind === "permission" ? access.permissions : [];
  const asked = [...new Set([...permissions, ...entry.guards.refused])];
  return {
    name,
    needs: asked.length > 0 ? asked : access.kind === "anonymous" ? "anyone" : "credentials",
    audience,
    conditions: conditions.map(({ source }) => source),
    cost,
    bucket: entry.bucket ?? null,
    cache: entry.cache ?? null,
    timeoutMs: entry.timeoutMs ?? null,
    maxRequestBytes: entry.maxRequestBytes ?? null,
    mutates,
    stream: method.methodKind !== "unary",
    deprecated: method.deprecated,
    verdicts: callers.map((caller) => methodVerdict(entry, caller)),
  };
}

function methodVerdict(entry: MethodEntry, { principal, rights }: Caller): MethodVerdict {
  try {
    refuseOutsiders(entry, rights);
    authorize(entry, principal, rights);
  } catch (error) {
    if (!(error instanceof PublicError)) throw error;
    return error.reason === "METHOD_UNKNOWN" ? "absent" : "no";
  }
  const met = entry.conditions.map(({ source }) =>
    conditionVerdict(source, entry.method.input, principal, rights),
  );
  if (met.includes(false)) return "no";
  return met.includes(undefined) ? "if" : "yes";
}

type Rule = Omit<MatrixField, "methods" | "verdicts">;

function fieldRows(methods: MethodTable, callers: readonly Caller[]): MatrixField[] {
  const rows = new Map<string, Rule & { readonly methods: string[] }>();
  for (const { name, guards } of methods.values()) {
    for (const rule of [...guards.read.flatMap(readRule), ...guards.set.flatMap(setRule)]) {
      const key = `${rule.action} ${rule.name}`;
      const row = rows.get(key) ?? { ...rule, methods: [] };
      rows.set(key, row);
      row.methods.push(name);
    }
  }
  return [...rows.values()].map((row) => ({
    ...row,
    verdicts: callers.map(({ rights }) => (rights.has(row.permission) ? "yes" : "no")),
  }));
}

function readRule({ field, read }: FieldGuard): Rule[] {
  if (read === undefined) return [];
  const without = read.denial === "refuse" ? "call refused" : "left out";
  return [{ name: nameOf(field), action: "read", permission: read.permission, without }];
}

function setRule({ field, set }: FieldGuard): Rule[] {
  if (set === undefined) return [];
  return [{ name: nameOf(field), action: "set", permission: set.permission, without: "refused if set" }];
}

function nameOf({ parent, name }: FieldGuard["field"]): string {
  return `${parent.typeName}.${name}`;
}
