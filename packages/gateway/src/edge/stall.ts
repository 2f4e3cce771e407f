/** Notices an answer that its reader has stopped taking. */
export interface StallGuard {
  /** From now on, the reader has to take something every so many milliseconds. */
  readonly start: (graceMs: number) => void;
  /** The reader took something. */
  readonly progress: () => void;
  /** The answer is over, one way or the other. */
  readonly stop: () => void;
}

/** Creates a guard. `cut` is called at most once, and never after `stop`. */
export function createStallGuard(cut: () => void): StallGuard {
  let graceMs: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const progress = () => {
    clearTimeout(timer);
    if (graceMs !== undefined && !stopped) timer = setTimeout(cut, graceMs).unref();
  };
  return {
    start: (ms) => {
      graceMs = ms;
      progress();
    },
    progress,
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

/** Small enough that a slow line takes one in well under the grace. */
const pieceBytes = 64 * 1024;

/**
 * Hands out a body in pieces; who asks for the next one has taken the last.
 *
 * @param taken is told the bytes of each piece that was taken
 */
export async function* inPieces(
  body: AsyncIterable<Uint8Array>,
  taken: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    for (let at = 0; at < chunk.byteLength; at += pieceBytes) {
      const piece = chunk.byteLength <= pieceBytes ? chunk : chunk.subarray(at, at + pieceBytes);
      yield piece;
      taken(piece.byteLength);
    }
  }
}
