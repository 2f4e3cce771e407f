import { type DescField, type DescMessage, getOption, hasOption, type Message } from "@bufbuild/protobuf";
import { pathToString } from "@bufbuild/protobuf/reflect";
import type { FieldViolation } from "../../errors.ts";
import { FieldBehavior, field_behavior } from "../../gen/google/api/field_behavior_pb.ts";
import { createFieldWalk } from "./field-walk.ts";

/** The required fields that a message leaves out, with paths such as `line_items[2].product`; at most 100 of them. */
export type RequiredCheck = (message: Message) => readonly FieldViolation[];

/**
 * Compiles the check of `(google.api.field_behavior) = REQUIRED` for a request (AIP-203): such a field must be
 * set, and not to the zero value of its type. Messages inside, in lists and in maps are checked too, where they are
 * present.
 *
 * A request type without required fields costs nothing per call.
 */
export function createRequiredCheck(desc: DescMessage): RequiredCheck {
  const required = new Set<DescField>();
  const walk = createFieldWalk(desc, (field) => {
    if (isRequired(field)) required.add(field);
    return required.has(field);
  });
  if (walk === undefined) return () => nothing;
  return (message) => {
    const missing: FieldViolation[] = [];
    walk(message, (holder, field, path) => {
      if (missing.length >= maxMissing) return "stop";
      if (required.has(field) && !holder.isSet(field))
        missing.push({ field: pathToString(path), description: "is required" });
      return "enter";
    });
    return missing;
  };
}

const nothing: readonly FieldViolation[] = [];

/** A request can leave something out of each of ten thousand items; nobody reads so many. */
const maxMissing = 100;

/** Whether a field is required by AIP-203. */
export function isRequired(field: DescField): boolean {
  return (
    hasOption(field, field_behavior) && getOption(field, field_behavior).includes(FieldBehavior.REQUIRED)
  );
}
