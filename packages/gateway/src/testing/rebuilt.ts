import { create, createFileRegistry, type DescFile, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  type FileDescriptorProto,
  FileDescriptorProtoSchema,
  FileDescriptorSetSchema,
} from "@bufbuild/protobuf/wkt";

/** A proto file as if it, and all that it imports, had been written differently. */
export function rebuilt(file: DescFile, change: (proto: FileDescriptorProto) => void): DescFile {
  const protos = new Map<string, FileDescriptorProto>();
  const visit = ({ name, proto, dependencies }: DescFile): void => {
    if (protos.has(name)) return;
    dependencies.forEach(visit);
    const copy = fromBinary(FileDescriptorProtoSchema, toBinary(FileDescriptorProtoSchema, proto));
    change(copy);
    protos.set(name, copy);
  };
  visit(file);
  const set = create(FileDescriptorSetSchema, { file: [...protos.values()] });
  const made = createFileRegistry(set).getFile(file.proto.name);
  if (made === undefined) throw new Error(`${file.proto.name} was renamed`);
  return made;
}
