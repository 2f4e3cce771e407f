import type { DescField, DescMethod, Message } from "@bufbuild/protobuf";
import { type FieldGuard, guardOf, guardsOf } from "./field-guard.ts";
import { createFindPaths } from "./field-paths.ts";
import { type Forbidden, findSetPaths, firstForbidden } from "./forbidden-fields.ts";
import { prune } from "./prune.ts";

/** The guards of a method's messages, however deep inside. */
export interface MethodGuards {
  /** The fields of the answer that not everyone may read, each once. */
  readonly read: readonly FieldGuard[];
  /** The fields of the request that not everyone may set, each once. */
  readonly set: readonly FieldGuard[];
  /** The permissions without which the method is refused, because its answer makes no sense without a field; each once. */
  readonly refused: readonly string[];
  /**
   * The answer without the hidden fields; the same object if it has none of them. Never changes what it is given. Throws
   * for an answer that is nested more than 100 deep.
   */
  readonly clear: <M extends Message>(answer: M, hidden: ReadonlySet<DescField>) => M;
  /**
   * The first field of the request that the caller may not set and does, with its path: `racks[0].secrets[2].pin`.
   *
   * A field mask sets what it names in the messages beside it, since an upstream clears what is named and not there
   * (AIP-134): the path is then the mask's. A `read_mask` sets nothing. A field without presence that has its type's
   * zero value is not set; a method whose upstream replaces all of an entity without a mask needs a permission of its own.
   */
  readonly firstForbidden: (request: Message, has: (permission: string) => boolean) => Forbidden | undefined;
}

/**
 * Compiles the guards of a method, for the start. What is true of a type of message is found out once for all methods.
 *
 * @example
 * const guards = compileGuards(VaultService.method.getVault);
 * const hidden = hiddenFields(guards, rights.has);
 * return guards.clear(create(method.output, answer), hidden);
 */
export function compileGuards({ input, output }: DescMethod): MethodGuards {
  const readPaths = findReadPaths(output);
  const setPaths = findSetPaths(input);
  const read = guardsOf(readPaths?.all ?? []);
  const set = guardsOf(setPaths?.all ?? []).filter((guard) => guard.set !== undefined);
  return {
    read,
    set,
    refused: [...new Set(read.flatMap(({ read }) => (read?.denial === "refuse" ? [read.permission] : [])))],
    clear: (answer, hidden) =>
      hidden.size === 0 || readPaths === undefined ? answer : prune(answer, readPaths, hidden),
    firstForbidden: (request, has) => {
      const forbidden = set.filter((guard) => guard.set !== undefined && !has(guard.set.permission));
      if (forbidden.length === 0 || setPaths === undefined) return undefined;
      return firstForbidden(request, setPaths, forbidden);
    },
  };
}

/** The fields of a method's answer that a caller may not read: the same empty set whenever there are none. */
export function hiddenFields(
  { read }: Pick<MethodGuards, "read">,
  has: (permission: string) => boolean,
): ReadonlySet<DescField> {
  const hidden = read.filter((guard) => guard.read !== undefined && !has(guard.read.permission));
  return hidden.length === 0 ? nothing : new Set(hidden.map(({ field }) => field));
}

const nothing: ReadonlySet<DescField> = new Set();

const findReadPaths = createFindPaths((field) => guardOf(field)?.read !== undefined);
