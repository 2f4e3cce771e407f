import { type DescField, type DescMessage, type DescMethod, getOption } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import { AnySchema, FeatureSet_FieldPresence } from "@bufbuild/protobuf/wkt";
import { createValidator, type Validator } from "@bufbuild/protovalidate";
import { messagesIn, messagesInFiles } from "../../descriptors.ts";
import { FieldPolicySchema, field as fieldOption } from "../../gen/portico/v1/policy_pb.ts";
import { type FieldGuard, guardOf, guardsOf } from "./field-guard.ts";

/**
 * What is wrong with the guards of the fields that methods give and take, each with what to write instead. Takes all
 * public methods at once: whether a guard has an effect depends on where its message occurs.
 *
 * A guard inside a `google.protobuf.Any` cannot be seen. So as soon as the protos of the methods have a guard, every Any
 * must be guarded itself, or stand in a field that is: of answers against reading, of requests against setting.
 */
export function guardProblems(methods: readonly DescMethod[]): string[] {
  const requests = messagesIn(methods.map(({ input }) => input));
  const answers = messagesIn(methods.map(({ output }) => output));
  const guards = guardsOf([...new Set([...requests, ...answers])].flatMap(({ fields }) => fields));
  const validator = createValidator();
  return [
    ...guards.flatMap(({ field }) => policyProblems(field, validator)),
    ...guards.flatMap((guard) => (answers.has(guard.field.parent) ? requiredProblem(guard) : [])),
    ...guards.flatMap((guard) => sideProblem(guard, requests, answers)),
    ...anyProblems(methods, "read"),
    ...anyProblems(methods, "set"),
  ];
}

/** The rules are those of the option itself, in policy.proto. */
function policyProblems(field: DescField, validator: Validator): string[] {
  const result = validator.validate(FieldPolicySchema, getOption(field, fieldOption));
  // The rules do not depend on the field: they run for one, or are broken for all.
  if (result.kind === "error") throw result.error;
  return (result.violations ?? []).map(({ field: path, message }) => {
    const option = ["(portico.v1.field)", pathToString(path)].filter((part) => part !== "").join(".");
    return `${nameOf(field)}: ${option} ${message}`;
  });
}

function requiredProblem({ field, read }: FieldGuard): string[] {
  if (read?.denial !== "clear" || field.presence !== FeatureSet_FieldPresence.LEGACY_REQUIRED) return [];
  return [
    `${nameOf(field)} is required, so it cannot be left out for callers without the permission "${read.permission}". Write {permission: "${read.permission}", denial: DENIAL_REFUSE} as its (portico.v1.field), or make it optional`,
  ];
}

type Types = ReadonlySet<DescMessage>;

function sideProblem({ field, read, set }: FieldGuard, requests: Types, answers: Types): string[] {
  if (read !== undefined && set === undefined && !answers.has(field.parent)) {
    return [
      `${nameOf(field)} occurs in requests alone, where (portico.v1.field).permission guards nothing. Write {set_permission: "${read.permission}"} to guard setting it`,
    ];
  }
  if (read === undefined && set !== undefined && !requests.has(field.parent)) {
    return [
      `${nameOf(field)} occurs in answers alone, where (portico.v1.field).set_permission guards nothing. Write {permission: "${set.permission}"} to guard reading it`,
    ];
  }
  return [];
}

function anyProblems(methods: readonly DescMethod[], side: "read" | "set"): string[] {
  if (!typesOf(methods).some(({ fields }) => fields.some((field) => guardOf(field)?.[side]))) return [];
  const roots = methods.map(({ input, output }) => (side === "read" ? output : input));
  const [option, lapse] = side === "read" ? ["permission", "cleared"] : ["set_permission", "refused"];
  return [...new Set(roots.flatMap((root) => openAnys(root, side)))].map(
    (place) =>
      `${place} is a google.protobuf.Any, which can hold a message with guarded fields, and they would not be ${lapse}. Name what it can hold in a oneof instead, or guard all of it: write {${option}: "a.permission"} as the (portico.v1.field) of this field, or of one that it stands in`,
  );
}

/** What a message can hold that is an Any, and neither guarded itself nor in a field that is. */
function openAnys(root: DescMessage, side: "read" | "set"): string[] {
  const open = new Set([root]);
  const places: string[] =
    root.typeName === AnySchema.typeName ? [`${root.typeName}, as a method gives or takes it,`] : [];
  for (const { fields } of open) {
    for (const field of fields) {
      if (field.message === undefined || guardOf(field)?.[side] !== undefined) continue;
      if (field.message.typeName === AnySchema.typeName) places.push(nameOf(field));
      open.add(field.message);
    }
  }
  return places;
}

/** All types of message in the files of the methods and in what those import: a guarded one can occur in an Any alone. */
function typesOf(methods: readonly DescMethod[]): DescMessage[] {
  return messagesInFiles(methods.map(({ parent }) => parent.file));
}

function nameOf({ parent, name }: DescField): string {
  return `${parent.typeName}.${name}`;
}
