import { create, type DescField, type DescMessage, type Message, type Registry } from "@bufbuild/protobuf";
import { reflect } from "@bufbuild/protobuf/reflect";
import { createValidator, type Validator } from "@bufbuild/protovalidate";
import { fill, sampleOf } from "./sample.ts";

/**
 * Finds rules of validation that do not work: those that do not compile, and those that fail rather than tell whether a
 * value is valid. For a caller, such a rule would make every call fail as `internal`.
 *
 * Each rule is run on an empty message and on ones with something in each field. As it is compiled by that, it is also
 * warm then.
 *
 * @returns what is wrong, each with the message and the field that has the rule
 */
export function ruleProblems(
  messages: Iterable<DescMessage>,
  validator: Validator,
  registry: Registry,
): string[] {
  const problems = new Set<string>();
  for (const desc of messages) {
    for (const sample of samplesOf(desc)) {
      const error = failureOf(validator, desc, sample);
      if (error === undefined) continue;
      const blamed = blame(desc, sample, registry);
      for (const problem of blamed.length > 0 ? blamed : [describe(desc.typeName, error)])
        problems.add(problem);
    }
  }
  return [...problems];
}

/** Nothing, something in each field, and something in each field of each oneof. */
function samplesOf(desc: DescMessage): Message[] {
  const others = desc.oneofs.flatMap((oneof) =>
    oneof.fields.slice(1).map((field) => {
      const message = create(desc);
      fill(reflect(desc, message), field);
      return message;
    }),
  );
  return [create(desc), sampleOf(desc), ...others];
}

function failureOf(validator: Validator, desc: DescMessage, message: Message): Error | undefined {
  const result = validator.validate(desc, message);
  return result.kind === "error" ? result.error : undefined;
}

/**
 * Names the fields whose rules fail. The library does not say which they are, so each field is looked at as if its
 * message had no other.
 */
function blame(
  desc: DescMessage,
  sample: Message,
  registry: Registry,
  above: readonly DescMessage[] = [],
): string[] {
  return desc.fields.flatMap((field) => {
    const error = failureOf(createValidator({ registry }), onlyWith(desc, field), sample);
    if (error === undefined) return [];
    const { message } = field;
    const isNew = message !== undefined && message !== desc && !above.includes(message);
    const inside = isNew
      ? samplesOf(message).flatMap((sample) => blame(message, sample, registry, [desc, ...above]))
      : [];
    return inside.length > 0 ? inside : [describe(`${desc.typeName}.${field.name}`, error)];
  });
}

/** A message with one of its fields and none of its own rules. */
function onlyWith(desc: DescMessage, field: DescField): DescMessage {
  const { options: _, ...proto } = desc.proto;
  return { ...desc, proto, fields: [field], oneofs: [], members: [field] };
}

function describe(place: string, { message }: Error): string {
  return `${place}: its rule of (buf.validate) does not work: ${message}`;
}
