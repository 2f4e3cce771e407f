import { randomBytes } from "node:crypto";
import type { DescMessage, Message } from "@bufbuild/protobuf";
import { createMarks } from "../../forgotten.ts";
import type { Kept, KeptBytes } from "../../kept-bytes.ts";
import type { EntityKey } from "../loaders/key.ts";
import { readEntities } from "./entity-bytes.ts";
import type { CachedLoader } from "./entity-cache.ts";
import { markOf, type Place } from "./entity-place.ts";

/** What is kept of one key. */
export interface KeptEntities {
  readonly items: readonly Message[];
  readonly bytes: Uint8Array;
  readonly isFresh: boolean;
}

/** Entities as kept bytes, and the marks of those that were forgotten. */
export interface EntityStore {
  /** What memory has. */
  readonly local: (loader: CachedLoader, place: Place) => KeptEntities | undefined;
  /** What memory or Redis have. */
  readonly all: (
    loader: CachedLoader,
    places: readonly Place[],
  ) => Promise<readonly (KeptEntities | undefined)[]>;
  /**
   * Keeps what a fetch brought, unless the key was forgotten since the fetch began. That there is nothing is kept only if
   * the loader says so; what was there before goes in any case.
   */
  readonly write: (loader: CachedLoader, place: Place, entry: Written) => void;
  /** Forgets a key, for whomever it is kept. */
  readonly forget: (loader: Pick<CachedLoader, "name" | "rule">, key: EntityKey) => void;
}

/** What is to be kept. */
interface Written {
  readonly bytes: Uint8Array;
  readonly isEmpty: boolean;
  /** When its fetch began. */
  readonly bornAt: number;
}

/**
 * Creates the store. It cannot know for whom a key is kept, so to forget it leaves a mark: entries that are older than the
 * mark of their key count for nothing.
 *
 * A replica knows its own marks to the moment, and loses none. Those of others it learns from Redis, with some doubt about
 * their times. Who reads an entry reads its mark after it, so that of the two, the mark stays in memory for longer.
 *
 * @param now the clock of `kept`, in milliseconds
 */
export function createEntityStore(kept: KeptBytes, now: () => number): EntityStore {
  const ownMarks = createMarks();
  const self = randomBytes(16);

  const isForgotten = ({ mark }: Place, bornAt: number, shared: Kept | undefined): boolean => {
    if (mark === undefined) return false;
    const isForeign = shared !== undefined && !self.equals(shared.bytes);
    return !ownMarks.allow(mark, bornAt) || (isForeign && bornAt <= shared.bornAt);
  };
  const read = (
    { entity }: CachedLoader,
    place: Place,
    entry: Kept | undefined,
    mark: Kept | undefined,
  ): KeptEntities | undefined => {
    if (entry === undefined || isForgotten(place, entry.bornAt, mark)) return undefined;
    const items = decode(entity, entry.bytes);
    return items && { items, bytes: entry.bytes, isFresh: now() < entry.freshUntil };
  };
  const localMark = ({ mark }: Place): Kept | undefined =>
    mark === undefined ? undefined : kept.local(mark);

  return {
    local: (loader, place) => {
      const entry = kept.local(place.name);
      return entry && read(loader, place, entry, localMark(place));
    },
    all: async (loader, places) => {
      const marks = places.flatMap(({ mark }) => mark ?? []);
      const found = await kept.get([...places.map(({ name }) => name), ...marks]);
      return places.map((place, index) => read(loader, place, found[index], found[places.length + index]));
    },
    write: (loader, place, { bytes, isEmpty, bornAt }) => {
      const { ttlMs, staleMs, missingTtlMs } = loader.rule;
      const freshMs = isEmpty ? missingTtlMs : ttlMs;
      if (freshMs === undefined) {
        if (kept.local(place.name) !== undefined) void kept.forget([place.name]);
        return;
      }
      if (isForgotten(place, bornAt, localMark(place))) return;
      const freshUntil = bornAt + freshMs;
      kept.set(place.name, { bytes, bornAt, freshUntil, staleUntil: freshUntil + (isEmpty ? 0 : staleMs) });
    },
    forget: (loader, key) => {
      const { ttlMs, staleMs, missingTtlMs = 0 } = loader.rule;
      const bornAt = now();
      const mark = markOf(loader, key);
      ownMarks.add(mark, bornAt);
      // Never fresh, so that other replicas' marks are looked for; there for as long as an older entry could be.
      const staleUntil = bornAt + Math.max(ttlMs + staleMs, missingTtlMs);
      kept.set(mark, { bytes: self, bornAt, freshUntil: bornAt, staleUntil, isMark: true });
    },
  };
}

/** What comes from Redis may be anything. */
function decode(entity: DescMessage, bytes: Uint8Array): Message[] | undefined {
  try {
    return readEntities(entity, bytes);
  } catch {
    return undefined;
  }
}
