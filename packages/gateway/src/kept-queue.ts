import type { Kept } from "./kept-bytes.ts";

/** What waits to be put into Redis. It takes a bounded amount of memory, however slow Redis is. */
export interface KeptQueue {
  /** Puts something in, in place of what waits under the same key. Refused if there is no more room. */
  readonly add: (key: string, kept: Kept) => void;
  /** Takes out as much as goes into one command, first what came first; nothing if nothing waits. */
  readonly take: () => readonly (readonly [string, Kept])[];
  /** Gives up all that waits. */
  readonly clear: () => void;
}

/** The most that waits, in entries and in bytes. */
const maxWaiting = { entries: 10_000, bytes: 16 * 2 ** 20 };

/** The most that one command has: neither Redis nor this process is to be kept busy for long. */
const maxBatch = { entries: 200, bytes: 2 ** 20 };

/** Creates an empty queue. */
export function createKeptQueue(): KeptQueue {
  const waiting = new Map<string, Kept>();
  let bytes = 0;
  const remove = (key: string): void => {
    bytes -= waiting.get(key)?.bytes.byteLength ?? 0;
    waiting.delete(key);
  };
  return {
    add: (key, kept) => {
      remove(key);
      const { byteLength } = kept.bytes;
      if (waiting.size >= maxWaiting.entries || bytes + byteLength > maxWaiting.bytes) return;
      waiting.set(key, kept);
      bytes += byteLength;
    },
    take: () => {
      const batch: (readonly [string, Kept])[] = [];
      let room = maxBatch.bytes;
      for (const [key, kept] of waiting) {
        room -= kept.bytes.byteLength;
        if (batch.length === maxBatch.entries || (batch.length > 0 && room < 0)) break;
        batch.push([key, kept]);
        remove(key);
      }
      return batch;
    },
    clear: () => {
      waiting.clear();
      bytes = 0;
    },
  };
}
