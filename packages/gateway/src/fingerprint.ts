import { createHash } from "node:crypto";
import { type DescFile, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { filesIn } from "./descriptors.ts";

/**
 * Names the content of proto files and of all that they import, options included: 22 characters that differ wherever a
 * message could be read differently, or be under another policy. The order of the files does not matter.
 *
 * @example const namespace = `answers:${fingerprint(services.map(({ desc }) => desc.file))}`;
 */
export function fingerprint(files: Iterable<DescFile>): string {
  const byName = new Map(Array.from(filesIn(files), (file) => [file.name, file]));
  const hash = createHash("sha256");
  for (const [, { proto }] of [...byName].sort(([a], [b]) => (a < b ? -1 : 1))) {
    const bytes = toBinary(FileDescriptorProtoSchema, proto);
    hash.update(`${bytes.byteLength}:`).update(bytes);
  }
  return hash.digest("base64url").slice(0, 22);
}
