import {
  clone,
  create,
  type DescField,
  type DescMessage,
  type DescMethod,
  toBinary,
} from "@bufbuild/protobuf";
import { type ReflectMessage, reflect } from "@bufbuild/protobuf/reflect";
import { FeatureSet_FieldPresence, FieldMaskSchema } from "@bufbuild/protobuf/wkt";
import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createSelect } from "../../packages/gateway/src/consolidation/selection/selection.ts";
import { readMaskOf } from "../../packages/gateway/src/read-mask.ts";
import { pub, pubCatalog, pubLegacy, readmask, vault } from "../../packages/gateway/src/testing/protos.ts";
import { arbitraryMessage } from "./arbitrary-message.ts";

// What is expected is found by reflection and from the texts of the paths alone, which shares no code with what is tested.

/** Big messages take minutes to shrink: a failure is shown as small as it got by then. */
const options = { interruptAfterTimeLimit: 10_000 };

const methods = readmask.ReadMaskService.method;

describe("for any answer and any mask, exactly the selected paths are kept", () => {
  test.each<[string, DescMethod, DescMessage, string]>([
    ["a crate", methods.findCrate, pub.CrateSchema, "crate."],
    ["a bare crate", methods.findBareCrate, pub.CrateSchema, ""],
    ["a list of crates", methods.findCrates, pub.CrateSchema, "crates."],
    ["a map of crates", methods.mapCrates, pub.CrateSchema, "crates."],
    ["entries in proto2", methods.findEntries, pubLegacy.EntrySchema, "entries."],
    ["a sheet in an edition", methods.findSheet, pubCatalog.SheetSchema, "sheet."],
    ["vaults", vault.VaultService.method.listVaults, vault.VaultSchema, "vaults."],
  ])("of %s", (_, method, resource, holder) => {
    const mask = readMaskOf(method, undefined);
    const select = typeof mask === "string" ? undefined : createSelect(method, mask);
    if (select === undefined) throw new Error("the method has no read mask");
    const answers = arbitraryMessage(method.output, { depth: 3 });
    const masks = fc.array(arbitraryPath(resource, 3), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(answers, masks, (answer, paths) => {
        const request = Object.assign(create(method.input), { readMask: create(FieldMaskSchema, { paths }) });
        const before = clone(method.output, answer);
        const selection = select(request);
        const kept = selection?.keep(answer) ?? answer;
        const wanted = new Set(paths.map((path) => holder + path.replaceAll(/\.\*/g, "")));
        const expected = clone(method.output, answer);
        keepOnly(reflect(method.output, expected), "", holder, wanted);
        // Bytes are compared, not messages: NaN is not equal to itself.
        expect(toBinary(method.output, kept)).toEqual(toBinary(method.output, expected));
        expect(toBinary(method.output, answer)).toEqual(toBinary(method.output, before));
        // What the views need not make is in no answer that is kept.
        const set = fieldsSet(reflect(method.output, kept));
        expect([...set].filter((field) => selection?.unselected.has(field))).toEqual([]);
      }),
      options,
    );
  });
});

/** A path to a field, or to one inside it, written in one of the ways that there are. */
function arbitraryPath(desc: DescMessage, depth: number): fc.Arbitrary<string> {
  return fc.oneof(...desc.fields.map((field) => arbitraryStep(field, depth)));
}

function arbitraryStep({ name, fieldKind, message }: DescField, depth: number): fc.Arbitrary<string> {
  const isMany = fieldKind === "list" || fieldKind === "map";
  const whole = fc.constantFrom(...(isMany ? [name, `${name}.*`] : [name]));
  if (message === undefined || message.typeName.startsWith("google.protobuf.") || depth === 0) return whole;
  const steps = { list: [".", ".*."], map: [".*."], message: ["."] } as const;
  const step = fieldKind === "list" || fieldKind === "map" ? steps[fieldKind] : steps.message;
  const inside = fc.tuple(fc.constantFrom(...step), arbitraryPath(message, depth - 1));
  return fc.oneof(whole, {
    weight: 3,
    arbitrary: inside.map(([between, path]) => `${name}${between}${path}`),
  });
}

/** Clears what no path leads to or through; `at` is the path of the message, with a dot at its end. */
function keepOnly(message: ReflectMessage, at: string, holder: string, wanted: ReadonlySet<string>): void {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    const path = `${at}${field.name}`;
    const isOutside = holder !== "" && at === "" && `${path}.` !== holder;
    if (isOutside || wanted.has(path)) continue;
    const leadsOn = [...wanted].some((each) => each.startsWith(`${path}.`));
    if (leadsOn) for (const inner of messagesIn(message, field)) keepOnly(inner, `${path}.`, holder, wanted);
    else if (field.presence !== FeatureSet_FieldPresence.LEGACY_REQUIRED) message.clear(field);
  }
}

function fieldsSet(message: ReflectMessage): Set<DescField> {
  const set = message.fields.filter((field) => message.isSet(field));
  const inside = set.flatMap((field) => messagesIn(message, field).flatMap((inner) => [...fieldsSet(inner)]));
  return new Set([...set, ...inside]);
}

function messagesIn(message: ReflectMessage, field: DescField): ReflectMessage[] {
  if (field.message === undefined) return [];
  switch (field.fieldKind) {
    case "list":
      return [...message.get(field)] as ReflectMessage[];
    case "map":
      return [...message.get(field).values()] as ReflectMessage[];
    default:
      return [message.get(field) as ReflectMessage];
  }
}
