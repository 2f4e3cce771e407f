import type { Writable } from "node:stream";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";

// How the conformance runner talks to a program: messages on its standard input and output, each behind its size in
// four bytes, the highest first.

/** The messages of a stream, as they come. Throws for one that is cut off. */
export async function* readMessages<D extends DescMessage>(
  desc: D,
  input: AsyncIterable<Uint8Array>,
): AsyncGenerator<MessageShape<D>> {
  let rest = Buffer.alloc(0);
  for await (const chunk of input) {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 4) {
      const end = 4 + rest.readUInt32BE(0);
      if (rest.length < end) break;
      yield fromBinary(desc, rest.subarray(4, end));
      rest = rest.subarray(end);
    }
  }
  if (rest.length > 0) throw new Error(`the input ends ${rest.length} bytes into a message`);
}

/** Writes one message. */
export function writeMessage<D extends DescMessage>(
  desc: D,
  message: MessageInitShape<D>,
  output: Writable,
): void {
  const bytes = toBinary(desc, create(desc, message));
  const size = Buffer.alloc(4);
  size.writeUInt32BE(bytes.length);
  output.write(Buffer.concat([size, bytes]));
}
