import {
  create,
  createFileRegistry,
  type DescMessage,
  type MessageInitShape,
  setExtension,
} from "@bufbuild/protobuf";
import {
  DescriptorProtoSchema,
  FieldDescriptorProto_Label,
  type FieldDescriptorProto_Type,
  FieldDescriptorProtoSchema,
  FieldOptionsSchema,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";
import { FieldRulesSchema, field as fieldRules } from "../gen/buf/validate/validate_pb.ts";

/** A field of a message that is made in a test. */
export interface RuledField {
  readonly name: string;
  readonly type: FieldDescriptorProto_Type;
  readonly repeated?: boolean;
  readonly rules: MessageInitShape<typeof FieldRulesSchema>;
}

/** `acme.made.Made`, a message with rules that `buf lint` would not let through in a proto, or that are too many for one. */
export function ruledMessage(...fields: readonly RuledField[]): DescMessage {
  const message = create(DescriptorProtoSchema, {
    name: "Made",
    field: fields.map(({ name, type, repeated = false, rules }, index) => {
      const options = create(FieldOptionsSchema);
      setExtension(options, fieldRules, create(FieldRulesSchema, rules));
      const label = repeated ? FieldDescriptorProto_Label.REPEATED : FieldDescriptorProto_Label.OPTIONAL;
      return create(FieldDescriptorProtoSchema, { name, number: index + 1, type, label, options });
    }),
  });
  const file = create(FileDescriptorProtoSchema, {
    name: "acme/made.proto",
    package: "acme.made",
    syntax: "proto3",
    messageType: [message],
  });
  const made = createFileRegistry(create(FileDescriptorSetSchema, { file: [file] })).getMessage(
    "acme.made.Made",
  );
  if (made === undefined) throw new Error("the message was not made");
  return made;
}
