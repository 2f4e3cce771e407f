import {
  clone,
  create,
  type DescFile,
  type DescMessage,
  type DescService,
  toBinary,
} from "@bufbuild/protobuf";
import {
  type DescriptorProto,
  DescriptorProto_ExtensionRangeSchema,
  DescriptorProtoSchema,
  FileDescriptorProtoSchema,
  type ServiceDescriptorProto,
  ServiceDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import type { Reach } from "./reach.ts";

/** A file, as those see it who may see a part of it. */
export interface ServedFile {
  /** As others import it: `acme/crates/v1/crates.proto`. */
  readonly name: string;
  /** Its `google.protobuf.FileDescriptorProto`. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** The names of the files that it imports. */
  readonly imports: readonly string[];
}

/**
 * Makes the file that is served for a file of the API: what is within reach, and of that the structure alone. Left out
 * are all options but those of protobuf itself, since they are notes of the company to its own programs (policies,
 * rules of validation); extensions, which the gateway does not pass on; comments; and imports that only those needed.
 */
export function serveFile(file: DescFile, reach: Reach): ServedFile {
  const proto = clone(FileDescriptorProtoSchema, file.proto);
  const imports = importsOf(file, reach);
  proto.dependency = imports;
  // Types are imported from where they are, so that nothing needs to be imported for others.
  proto.publicDependency = [];
  proto.weakDependency = [];
  proto.optionDependency = [];
  proto.messageType = file.messages.flatMap((message) => servedMessage(message, reach) ?? []);
  proto.enumType = file.enums.filter((desc) => reach.types.has(desc)).map((desc) => desc.proto);
  proto.service = file.services.flatMap((service) => servedService(service, reach) ?? []);
  proto.extension = [];
  delete proto.sourceCodeInfo;
  // The options that others have declared are unknown to the messages that hold them.
  const bytes = toBinary(FileDescriptorProtoSchema, proto, { writeUnknownFields: false });
  return { name: file.proto.name, bytes, imports };
}

/** One that is out of reach is kept, empty, for the sake of a type that is declared in it. */
function servedMessage(desc: DescMessage, reach: Reach): DescriptorProto | undefined {
  const nested = desc.nestedMessages.flatMap((message) => servedMessage(message, reach) ?? []);
  const enums = desc.nestedEnums.filter((it) => reach.types.has(it)).map((it) => it.proto);
  const isReached = reach.types.has(desc);
  if (!isReached && nested.length === 0 && enums.length === 0) return undefined;
  const proto = clone(DescriptorProtoSchema, desc.proto);
  const entries = proto.nestedType.filter(({ options }) => options?.mapEntry);
  proto.enumType = enums;
  proto.extension = [];
  if (isReached) {
    proto.nestedType = [...nested, ...entries];
    proto.extensionRange = proto.extensionRange.map(({ start, end }) =>
      create(DescriptorProto_ExtensionRangeSchema, { start, end }),
    );
    return proto;
  }
  proto.nestedType = nested;
  proto.field = [];
  proto.oneofDecl = [];
  proto.extensionRange = [];
  proto.reservedName = [];
  proto.reservedRange = [];
  return proto;
}

function servedService(desc: DescService, { services }: Reach): ServiceDescriptorProto | undefined {
  const visible = services.find((service) => service.desc === desc);
  if (visible === undefined) return undefined;
  const names = new Set(visible.methods.map(({ name }) => name));
  const proto = clone(ServiceDescriptorProtoSchema, desc.proto);
  proto.method = proto.method.filter(({ name }) => names.has(name));
  return proto;
}

/** The files of the types that are mentioned in a file. */
function importsOf(file: DescFile, { services, types }: Reach): string[] {
  const byMethods = services
    .filter(({ desc }) => desc.file === file)
    .flatMap(({ methods }) => methods.flatMap(({ input, output }) => [input, output]));
  const byFields = [...types]
    .filter((type) => type.kind === "message")
    .filter((message) => message.file === file)
    .flatMap(({ fields }) => fields.flatMap((field) => field.message ?? field.enum ?? []));
  const mentioned = new Set([...byMethods, ...byFields].map((type) => type.file));
  mentioned.delete(file);
  return [...mentioned].map(({ proto }) => proto.name).sort();
}
