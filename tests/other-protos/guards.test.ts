import { isDeepStrictEqual } from "node:util";
import {
  clone,
  type DescField,
  type DescMessage,
  type DescMethod,
  type Message,
  toBinary,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileGuards, hiddenFields } from "../../packages/gateway/src/policy/fields/field-guards.ts";
import { createFindPaths } from "../../packages/gateway/src/policy/fields/field-paths.ts";
import { prune } from "../../packages/gateway/src/policy/fields/prune.ts";
import {
  pub,
  pubCatalog,
  pubLegacy,
  vault,
  vaultEdition,
  vaultLegacy,
} from "../../packages/gateway/src/testing/protos.ts";
import { arbitraryMessage } from "./arbitrary-message.ts";

// What is expected is found by reflection alone, which shares no code with what is tested.

/** Big messages take minutes to shrink: a failure is shown as small as it got by then. */
const options = { interruptAfterTimeLimit: 10_000 };

describe("for any answer and any caller, exactly the guarded fields that the caller may not read are gone", () => {
  test.each<[string, DescMethod]>([
    ["proto3", vault.VaultService.method.getVault],
    ["a list", vault.VaultService.method.listVaults],
    ["proto2", vaultLegacy.VaultLegacyService.method.getChest],
    ["an edition", vaultEdition.VaultEditionService.method.getSafe],
  ])("in %s", (_, method) => {
    const guards = compileGuards(method);
    const permissions = [...new Set(guards.read.flatMap(({ read }) => read?.permission ?? []))];
    fc.assert(
      fc.property(
        arbitraryMessage(method.output, { depth: 3 }),
        fc.subarray(permissions),
        (answer, granted) => {
          const hidden = hiddenFields(guards, (permission) => granted.includes(permission));
          const before = clone(method.output, answer);
          expectPruned(method.output, guards.clear(answer, hidden), before, hidden);
          // Bytes are compared, not messages: NaN is not equal to itself.
          expect(toBinary(method.output, answer)).toEqual(toBinary(method.output, before));
        },
      ),
      options,
    );
  });
});

describe("for any message and any fields, exactly those are gone", () => {
  test.each<[string, DescMessage]>([
    ["a crate", pub.CrateSchema],
    ["an entry in proto2", pubLegacy.EntrySchema],
    ["a sheet in an edition", pubCatalog.SheetSchema],
    ["a vault", vault.VaultSchema],
    ["a chest in proto2", vaultLegacy.ChestSchema],
    ["a safe in an edition", vaultEdition.SafeSchema],
  ])("in %s", (_, desc) => {
    const candidates = ownFields(desc);
    fc.assert(
      fc.property(arbitraryMessage(desc), fc.subarray(candidates, { minLength: 1 }), (message, fields) => {
        const hidden = new Set(fields);
        const paths = createFindPaths((field) => hidden.has(field))(desc);
        if (paths === undefined) throw new Error("a field cannot be reached");
        const before = clone(desc, message);
        expectPruned(desc, prune(message, paths, hidden), before, hidden);
        expect(toBinary(desc, message)).toEqual(toBinary(desc, before));
      }),
      options,
    );
  });
});

/** The fields of all that a message can hold but for the messages of protobuf itself, whose fields need each other. */
function ownFields(desc: DescMessage, seen = new Set<DescMessage>()): DescField[] {
  if (seen.has(desc) || desc.typeName.startsWith("google.protobuf.")) return [];
  seen.add(desc);
  return desc.fields.flatMap((field) => [
    // What is required cannot be left out, which a gateway with such a guard finds at its start.
    ...(field.presence === FeatureSet_FieldPresence.LEGACY_REQUIRED ? [] : [field]),
    ...(field.message === undefined ? [] : ownFields(field.message, seen)),
  ]);
}

function expectPruned(
  desc: DescMessage,
  result: Message,
  original: Message,
  hidden: ReadonlySet<DescField>,
): void {
  expect(differences(reflect(desc, result), reflect(desc, original), hidden)).toEqual([]);
  const expected = clone(desc, original);
  clearAll(reflect(desc, expected), hidden);
  expect(toBinary(desc, result)).toEqual(toBinary(desc, expected));
}

/** Where the result has a hidden field, or another than the original has it; every value is compared by itself. */
function differences(
  result: ReflectMessage,
  original: ReflectMessage,
  hidden: ReadonlySet<DescField>,
): string[] {
  return original.fields.flatMap((field) => {
    const wanted = hidden.has(field) || !original.isSet(field) ? [] : valuesOf(original, field);
    const actual = result.isSet(field) ? valuesOf(result, field) : [];
    if (result.isSet(field) && wanted.length === 0) return [`${field} is set`];
    if (actual.length !== wanted.length) return [`${field} has ${actual.length} values`];
    return wanted.flatMap(([key, value], index) => {
      const [otherKey, other] = actual[index] ?? [];
      if (key !== otherKey) return [`${field} has a key ${otherKey}`];
      if (field.message !== undefined) {
        return differences(other as ReflectMessage, value as ReflectMessage, hidden);
      }
      return isDeepStrictEqual(other, value) ? [] : [`${field} has another value at ${key}`];
    });
  });
}

function clearAll(message: ReflectMessage, hidden: ReadonlySet<DescField>): void {
  for (const field of message.fields) {
    if (hidden.has(field)) message.clear(field);
    else if (field.message !== undefined && message.isSet(field)) {
      for (const [, inner] of valuesOf(message, field)) clearAll(inner as ReflectMessage, hidden);
    }
  }
}

/** What a field holds, with keys or indices; one value is a list of one. */
function valuesOf(message: ReflectMessage, field: DescField): [unknown, unknown][] {
  switch (field.fieldKind) {
    case "list":
      return [...message.get(field)].map((value, index) => [index, value]);
    case "map":
      return [...message.get(field)];
    default:
      return [["", message.get(field)]];
  }
}
