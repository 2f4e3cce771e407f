/** Flags and length, before each message of gRPC, gRPC-Web and Connect's streams. */
const headBytes = 5;

/** Puts together what came in pieces. */
export interface Assembly {
  /** Takes the next piece. Gives the messages that are whole with it, in their envelopes; `undefined` if none is. */
  readonly add: (piece: Uint8Array) => Uint8Array | undefined;
  /** What is left: the beginning of an envelope. */
  readonly rest: () => Uint8Array;
}

/**
 * Assembles envelopes before anybody decodes them. Linear in the bytes, whatever the pieces: Connect's own decoder
 * counts all that it keeps again for each of them, so that 40,000 single bytes cost it seconds. And it allocates what an
 * envelope declares when its head is there; here, memory grows with what has come.
 *
 * Adds no delay, since nobody can do anything with half a message. An envelope that declares more than `maxMessageBytes`
 * is handed out with what there is of it, for the decoder to refuse.
 */
export function assembleEnvelopes(maxMessageBytes: number): Assembly {
  let kept = Buffer.alloc(0);
  let length = 0;
  /** How many bytes have to be there before anything can be done with them. */
  let wanted = headBytes;

  function keep(piece: Uint8Array): void {
    if (length + piece.length > kept.length) {
      const larger = Buffer.allocUnsafe(Math.max(256, 2 * (length + piece.length)));
      kept.copy(larger, 0, 0, length);
      kept = larger;
    }
    kept.set(piece, length);
    length += piece.length;
  }
  /** Where the last whole envelope ends. */
  function endOfWhole(bytes: Uint8Array): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let end = 0; ; end += wanted) {
      wanted = headBytes;
      if (bytes.length - end < wanted) return end;
      const declared = view.getUint32(end + 1);
      if (declared > maxMessageBytes) return bytes.length;
      wanted += declared;
      if (bytes.length - end < wanted) return end;
    }
  }
  return {
    add: (piece) => {
      if (length + piece.length < wanted) {
        keep(piece);
        return undefined;
      }
      const bytes = length === 0 ? piece : Buffer.concat([kept.subarray(0, length), piece]);
      const end = endOfWhole(bytes);
      // Let go of the memory that a large message took.
      kept = Buffer.alloc(0);
      length = 0;
      if (end < bytes.length) keep(bytes.subarray(end));
      return end === 0 ? undefined : bytes.subarray(0, end);
    },
    rest: () => kept.subarray(0, length),
  };
}
