import type { DescFile, DescMessage } from "@bufbuild/protobuf";
import { nestedTypes } from "@bufbuild/protobuf/reflect";

// What can be reached from a descriptor. For the start: it takes a walk.

/** The types of all messages that the given ones can hold, themselves included. */
export function messagesIn(descs: Iterable<DescMessage>): Set<DescMessage> {
  const found = new Set(descs);
  // A set that grows while it is walked is walked to its end.
  for (const { fields } of found) {
    for (const { message } of fields) if (message !== undefined) found.add(message);
  }
  return found;
}

/** Some files, and all that they import, however far away. */
export function filesIn(files: Iterable<DescFile>): Set<DescFile> {
  const found = new Set(files);
  for (const { dependencies } of found) for (const file of dependencies) found.add(file);
  return found;
}

/** All types of message in some files and in what they import, nested ones too. */
export function messagesInFiles(files: Iterable<DescFile>): DescMessage[] {
  const types = [...filesIn(files)].flatMap((file) => [...nestedTypes(file)]);
  return types.filter((type) => type.kind === "message");
}
