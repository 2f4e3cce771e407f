import { LRUCache } from "lru-cache";
import { StartError } from "./errors.ts";
import { createMarks } from "./forgotten.ts";
import { createRedisLevel } from "./kept-in-redis.ts";
import type { SharedStore } from "./redis.ts";

/** Something that is kept, and until when. Times are in milliseconds of the clock of {@link KeptBytes}. */
export interface Kept {
  readonly bytes: Uint8Array;
  /** When it began to be fetched: it knows of nothing that happened later. */
  readonly bornAt: number;
  /** Until when it may be given as it is. */
  readonly freshUntil: number;
  /** Until when it may be given while a new one is fetched. */
  readonly staleUntil: number;
  /**
   * Whether it says that something has changed, rather than what something is. Where Redis leaves its time in doubt, it
   * counts as born later, not earlier, so that nothing that is older than the change looks younger. Default: false.
   */
  readonly isMark?: boolean;
}

/**
 * Bytes under keys: in memory and, where there is a Redis, shared by all replicas.
 *
 * What is put under a key replaces only what was born before it, so that of two fetches the one that began last counts,
 * whichever ends last.
 */
export interface KeptBytes {
  /** What memory has under a key, fresh or stale. */
  readonly local: (key: string) => Kept | undefined;
  /**
   * What there is under each of the keys, fresh or stale. Redis is asked once, for all that are not fresh in memory, and
   * waited for no longer than {@link SharedStore.ask} does. Never rejects.
   */
  readonly get: (keys: readonly string[]) => Promise<(Kept | undefined)[]>;
  /** Keeps something: in memory at once, in Redis in the background. */
  readonly set: (key: string, kept: Kept) => void;
  /**
   * Forgets what is under the keys, and refuses whatever was born before now, from this replica at once, and from all
   * others if Redis answers. Resolves when Redis has answered, or will not. Never rejects.
   */
  readonly forget: (keys: readonly string[]) => Promise<void>;
  /** What is in memory. */
  readonly facts: () => { readonly entries: number; readonly bytes: number };
}

/** How bytes are kept. */
export interface KeptBytesOptions {
  /** What all entries together may take in memory, with their keys. One that takes more than a sixteenth is not kept there. */
  readonly maxBytes: number;
  /** Where the replicas share what they keep. */
  readonly redis?: SharedStore | undefined;
  /** Stands before the keys in Redis. Another one for everything that reads the same bytes differently: see `fingerprint`. */
  readonly namespace: string;
  /** A clock that does not jump, in milliseconds. Default: the process's. */
  readonly now?: () => number;
}

/** What an entry takes besides its bytes and its key: its times, its places in the maps; measured, and rounded up. */
const entryOverhead = 640;

/** The fewest bytes that memory can be bounded to. */
export const leastKeptBytes = 32 * entryOverhead;

/**
 * Creates a store of bytes. What was used least recently goes first.
 *
 * Throws a {@link StartError} if `maxBytes` is no whole number of at least {@link leastKeptBytes}.
 *
 * @example
 * const kept = createKeptBytes({ maxBytes: 64 * 2 ** 20, redis, namespace: `answers:${fingerprint(files)}` });
 * kept.set(key, { bytes, bornAt, freshUntil: bornAt + 5_000, staleUntil: bornAt + 60_000 });
 */
export function createKeptBytes({
  maxBytes,
  redis,
  namespace,
  now = () => performance.now(),
}: KeptBytesOptions): KeptBytes {
  const memory = createMemory(maxBytes);
  const marks = createMarks();
  const shared = redis && createRedisLevel(redis, namespace, now);

  /** Whether it may be put under the key, or given for it. */
  function admits(key: string, { bornAt, staleUntil }: Kept): boolean {
    return now() < staleUntil && marks.allow(key, bornAt);
  }

  function local(key: string): Kept | undefined {
    const kept = memory.get(key);
    if (kept === undefined || now() < kept.staleUntil) return kept;
    memory.delete(key);
    return undefined;
  }

  /** Keeps it in memory unless something better is there. Returns what is best. */
  function keep(key: string, kept: Kept): Kept | undefined {
    const there = local(key);
    if (!admits(key, kept) || (there !== undefined && kept.bornAt < there.bornAt)) return there;
    memory.set(key, kept);
    return kept;
  }

  return {
    local,
    get: async (keys) => {
      const found = keys.map(local);
      const time = now();
      const wanted = keys.filter((_, index) => time >= (found[index]?.freshUntil ?? time));
      if (wanted.length === 0 || shared === undefined) return found;
      const given = await shared.get([...new Set(wanted)]);
      for (const [key, kept] of given) keep(key, kept);
      // One that is too large for memory is given all the same.
      return keys.map((key) => {
        const kept = given.get(key);
        return local(key) ?? (kept !== undefined && admits(key, kept) ? kept : undefined);
      });
    },
    set: (key, kept) => {
      // Redis decides which of two marks is later: here, that of another replica may only look so.
      if (keep(key, kept) === kept || kept.isMark) shared?.set(key, kept);
    },
    forget: async (keys) => {
      for (const key of keys) {
        marks.add(key, now());
        memory.delete(key);
      }
      if (keys.length > 0) await shared?.forget(keys);
    },
    facts: () => ({ entries: memory.size, bytes: memory.calculatedSize }),
  };
}

function createMemory(maxBytes: number): LRUCache<string, Kept> {
  if (!Number.isSafeInteger(maxBytes) || maxBytes < leastKeptBytes)
    throw new StartError([
      `maxBytes of what is kept: must be a whole number of at least ${leastKeptBytes}, not ${maxBytes}`,
    ]);
  return new LRUCache({
    maxSize: maxBytes,
    maxEntrySize: Math.floor(maxBytes / 16),
    sizeCalculation: ({ bytes }, key) => bytes.byteLength + key.length + entryOverhead,
  });
}
