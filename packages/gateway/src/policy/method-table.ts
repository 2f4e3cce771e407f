import { type DescMethod, getOption, hasOption } from "@bufbuild/protobuf";
import { StartError } from "../errors.ts";
import { method as methodOption } from "../gen/portico/v1/policy_pb.ts";
import type { AnyHandler, PublicService } from "../service.ts";
import { createRequiredCheck, type RequiredCheck } from "./required.ts";

/** Everything that is decided about a public method before the first call. */
export interface MethodEntry {
  readonly method: DescMethod;
  /** `package.Service/Method`, as in the path and the log. */
  readonly name: string;
  /** Who may call it. */
  readonly access: Access;
  /** Finds required fields that a request leaves out. */
  readonly required: RequiredCheck;
  readonly handler: AnyHandler;
}

/** Who may call a method: the compiled form of `portico.v1.MethodPolicy.access`. */
export type Access =
  | { readonly kind: "anonymous" }
  | { readonly kind: "authenticated" }
  | { readonly kind: "permission"; readonly permission: string };

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
  const problems: string[] = duplicates(services);
  const table = new Map<DescMethod, MethodEntry>();
  for (const { desc, handlers } of services) {
    for (const method of desc.methods) {
      const access = accessOf(method);
      const handler = handlers[method.localName];
      if (typeof access === "string") problems.push(access);
      else if (handler !== undefined) table.set(method, createEntry(method, access, handler));
    }
  }
  if (problems.length > 0) throw new StartError(problems);
  return table;
}

function createEntry(method: DescMethod, access: Access, handler: AnyHandler): MethodEntry {
  const name = `${method.parent.typeName}/${method.name}`;
  return { method, name, access, required: createRequiredCheck(method.input), handler };
}

function duplicates(services: readonly PublicService[]): string[] {
  const names = services.map(({ desc }) => desc.typeName);
  return names
    .filter((name, index) => names.indexOf(name) !== index)
    .map((name) => `${name} is given twice: remove one of the services`);
}

/** The access rule of a method, or what is wrong with it. */
function accessOf(method: DescMethod): Access | string {
  if (!hasOption(method, methodOption)) return describe(method, "has no policy");
  const { access } = getOption(method, methodOption);
  switch (access.case) {
    case undefined:
      return describe(method, "has a policy that does not say who may call it");
    case "permission":
      if (permissionPattern.test(access.value)) return { kind: "permission", permission: access.value };
      return describe(method, `has the permission "${access.value}", which is not like "orders.read"`);
    default:
      if (access.value) return { kind: access.case };
      return describe(method, `says ${access.case}: false, which means nothing`);
  }
}

const permissionPattern = /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$/;

function describe(method: DescMethod, problem: string): string {
  const noun = method.parent.name.replace(/Service$/, "").toLowerCase();
  return [
    `${method.parent.typeName}.${method.name} ${problem}. Write into the rpc, in ${method.parent.file.name}.proto:`,
    `  option (portico.v1.method) = {permission: "${noun}.read"};`,
    "or {authenticated: true} for every caller with credentials, or {anonymous: true} for everyone;",
    "then run: npx -y pnpm@12 generate",
  ].join("\n");
}
