import { type DescMessage, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";

/** Writes entities one after the other, each with its length before it; without fields that the proto does not know. */
export function writeEntities(desc: DescMessage, entities: readonly Message[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const entity of entities) writer.bytes(toBinary(desc, entity, { writeUnknownFields: false }));
  return writer.finish();
}

/** Reads what {@link writeEntities} wrote, into messages of their own. Throws if it is anything else. */
export function readEntities(desc: DescMessage, bytes: Uint8Array): Message[] {
  // A copy: fields of bytes are read as views, and a view that is sorted or filled would change what others read.
  const reader = new BinaryReader(new Uint8Array(bytes));
  const entities: Message[] = [];
  while (reader.pos < reader.len)
    entities.push(fromBinary(desc, reader.bytes(), { readUnknownFields: false }));
  return entities;
}
