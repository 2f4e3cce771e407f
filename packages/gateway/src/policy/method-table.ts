import type { DescField, DescMethod } from "@bufbuild/protobuf";
import { StartError } from "../errors.ts";
import { type ReadMask, readMaskOf } from "../read-mask.ts";
import type { AnyHandler, PublicService } from "../service.ts";
import type { NamedPermissions } from "./access.ts";
import { cacheProblems } from "./cache-rule.ts";
import { type Condition, compileCondition } from "./conditions/condition.ts";
import { compileGuards, hiddenFields, type MethodGuards } from "./fields/field-guards.ts";
import { guardProblems } from "./fields/guard-problems.ts";
import { isReadOnly, type MethodPolicy, policyOf } from "./method-policy.ts";
import type { Rights } from "./rights.ts";

/** Everything that is decided about a public method before the first call. */
export interface MethodEntry extends Omit<MethodPolicy, "conditions" | "readMaskField"> {
  readonly method: DescMethod;
  /** `package.Service/Method`, as in the path and the log. */
  readonly name: string;
  /** What must be true of a call besides. */
  readonly conditions: readonly Condition[];
  /** The fields that not everyone may read or set. */
  readonly guards: MethodGuards;
  /** The fields of the answer that a caller may not read. */
  readonly hiddenFrom: (rights: Rights) => ReadonlySet<DescField>;
  /** Where callers say which fields of the answer they want. */
  readonly readMask: ReadMask | undefined;
  /** Whether a call may change something: it has no `idempotency_level = NO_SIDE_EFFECTS`. */
  readonly mutates: boolean;
  readonly handler: AnyHandler;
}

/** The entry of each public method. */
export type MethodTable = ReadonlyMap<DescMethod, MethodEntry>;

/** The entry of a method. Throws if there is none, which no caller can bring about: the router has the same methods. */
export function entryOf(methods: MethodTable, method: DescMethod): MethodEntry {
  const entry = methods.get(method);
  if (entry === undefined) throw new Error(`${method.toString()} is not in the method table`);
  return entry;
}

/**
 * Reads the policies of all public methods, once.
 *
 * Throws a {@link StartError} that lists every method without a policy, or with one that makes no sense.
 */
export function createMethodTable(services: readonly PublicService[]): MethodTable {
  const methods = services.flatMap(({ desc }) => desc.methods);
  const problems: string[] = [...duplicates(services), ...guardProblems(methods)];
  const table = new Map<DescMethod, MethodEntry>();
  for (const { desc, handlers, policy: given, isFree = false } of services) {
    for (const method of desc.methods) {
      const handler = handlers[method.localName];
      const policy = policyOf(method, given);
      if (isList(policy)) problems.push(...policy);
      else if (handler !== undefined) {
        // The services of a standard change nothing, though their protos do not say so.
        const mutates = given === undefined && !isReadOnly(method);
        addEntry(table, problems, {
          method,
          policy: isFree ? { ...policy, cost: 0 } : policy,
          handler,
          mutates,
        });
      }
    }
  }
  if (problems.length > 0) throw new StartError([...new Set(problems)]);
  return table;
}

/** Every permission that methods, fields and conditions name, with where it is named first. */
export function permissionsIn(methods: MethodTable): NamedPermissions {
  const named = new Map<string, string>();
  const add = (permission: string | undefined, where: string): void => {
    if (permission !== undefined && !named.has(permission)) named.set(permission, where);
  };
  for (const { name, access, guards, conditions } of methods.values()) {
    for (const permission of access.kind === "permission" ? access.permissions : []) add(permission, name);
    for (const { permissions } of conditions)
      for (const permission of permissions) add(permission, `the condition of ${name}`);
    for (const { field, read, set } of [...guards.read, ...guards.set]) {
      add(read?.permission, `${field.parent.typeName}.${field.name}`);
      add(set?.permission, `${field.parent.typeName}.${field.name}`);
    }
  }
  return named;
}

interface GivenEntry extends Pick<MethodEntry, "method" | "handler" | "mutates"> {
  readonly policy: MethodPolicy;
}

function addEntry(
  table: Map<DescMethod, MethodEntry>,
  problems: string[],
  { method, policy, handler, mutates }: GivenEntry,
): void {
  const name = `${method.parent.typeName}/${method.name}`;
  const guards = compileGuards(method);
  const conditions = policy.conditions.flatMap((source) => compile(source, method, problems));
  if (policy.cache !== undefined)
    problems.push(
      ...cacheProblems({
        method,
        rule: policy.cache,
        conditions,
        guardedFields: guards.read.map(({ field }) => field),
      }),
    );
  const { readMaskField, ...rest } = policy;
  const readMask = readMaskOf(method, readMaskField);
  if (typeof readMask === "string") problems.push(readMask);
  table.set(method, {
    ...rest,
    method,
    name,
    conditions,
    guards,
    hiddenFrom: remember(guards),
    readMask: typeof readMask === "string" ? undefined : readMask,
    mutates,
    handler,
  });
}

function compile(source: string, method: DescMethod, problems: string[]): Condition[] {
  try {
    return [compileCondition(source, method.input)];
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    const where = `${method.parent.typeName}.${method.name}: (portico.v1.method).condition`;
    problems.push(...error.problems.map((problem) => `${where}: ${problem}`));
    return [];
  }
}

/** Callers of the same roles share their rights, so that this is worked out once for all of them. */
function remember(guards: MethodGuards): MethodEntry["hiddenFrom"] {
  const known = new WeakMap<Rights, ReadonlySet<DescField>>();
  return (rights) => {
    const hidden = known.get(rights) ?? hiddenFields(guards, rights.has);
    known.set(rights, hidden);
    return hidden;
  };
}

function duplicates(services: readonly PublicService[]): string[] {
  const names = services.map(({ desc }) => desc.typeName);
  return names
    .filter((name, index) => names.indexOf(name) !== index)
    .map((name) => `${name} is given twice: remove one of the services`);
}

/** `Array.isArray` does not know read-only lists. */
function isList(policy: MethodPolicy | readonly string[]): policy is readonly string[] {
  return Array.isArray(policy);
}
