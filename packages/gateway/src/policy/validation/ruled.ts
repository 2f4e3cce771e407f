import { type DescField, type DescMessage, getOption, hasOption } from "@bufbuild/protobuf";
import { usedTypes } from "@bufbuild/protobuf/reflect";
import {
  type FieldRules,
  field as fieldRules,
  Ignore,
  message as messageRules,
  oneof as oneofRules,
} from "../../gen/buf/validate/validate_pb.ts";

// What has rules of protovalidate.

/** A message and all that it can hold, but for those of protobuf itself. */
export function messagesIn(desc: DescMessage): DescMessage[] {
  return [desc, ...usedTypes(desc)]
    .filter((type) => type.kind === "message")
    .filter(({ typeName }) => !typeName.startsWith("google.protobuf."));
}

/** Whether a message has rules, or one of its fields. */
export function hasRules(desc: DescMessage): boolean {
  return (
    hasOption(desc, messageRules) ||
    desc.fields.some((field) => hasOption(field, fieldRules)) ||
    desc.oneofs.some((oneof) => hasOption(oneof, oneofRules))
  );
}

/** The rules of a field, if it has any. */
export function rulesOf(field: DescField): FieldRules | undefined {
  return hasOption(field, fieldRules) ? getOption(field, fieldRules) : undefined;
}

/** Whether protovalidate does not look at a field, nor at what is in it. */
export function isIgnored(rules: FieldRules | undefined): boolean {
  return rules?.ignore === Ignore.ALWAYS;
}
