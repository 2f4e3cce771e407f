import { clone, type DescMessage, type Message } from "@bufbuild/protobuf";
import type { Call } from "../../call.ts";
import { PublicError } from "../../errors.ts";
import type { Found } from "../loaders/fetch.ts";
import { readEntities, writeEntities } from "./entity-bytes.ts";
import type { CachedLoader } from "./entity-cache.ts";
import { type Place, placeOf } from "./entity-place.ts";
import type { EntityStore, KeptEntities } from "./entity-store.ts";

/** The entities of some keys, on their way. */
export interface Trip {
  readonly loader: CachedLoader;
  readonly sharers: string;
  readonly places: readonly Place[];
  /** When it began, by the clock of the store. */
  readonly bornAt: number;
  /** Whether stale entities are there already, so that only fresh ones will do. */
  readonly isRefresh: boolean;
  /** The places of those that it brought although they are stale. */
  readonly stale: Place[];
}

/** By the name of its place, what a trip brought: messages of their own for everyone who takes them, or an error. */
export type Brought = ReadonlyMap<string, (() => readonly Message[]) | PublicError>;

/** What is counted. */
export interface TripEvents {
  readonly onHit: (entry: KeptEntities) => void;
  readonly onMisses: (keys: number) => void;
}

/** Of a whole list, so many entities at the most are kept that nobody asked for. */
const maxOthers = 1_000;

/** Makes trips: to Redis, where there is one, and from there to the upstream for the rest. */
export function createBring(store: EntityStore, { onHit, onMisses }: TripEvents) {
  const keep = ({ loader, bornAt }: Trip, place: Place, found: Found) => {
    if (found instanceof PublicError) return found;
    const bytes = written(loader.entity, found);
    if (bytes !== undefined) store.write(loader, place, { bytes, isEmpty: found.length === 0, bornAt });
    return handOut(loader.entity, found, bytes);
  };
  return async (trip: Trip, call: Call): Promise<Brought> => {
    const { loader, sharers, places, isRefresh, stale } = trip;
    const brought = new Map<string, (() => readonly Message[]) | PublicError>();
    const kept = await store.all(loader, places);
    const rest = places.filter((place, index) => {
      const entry = kept[index];
      if (entry === undefined || (isRefresh && !entry.isFresh)) return true;
      brought.set(place.name, handOut(loader.entity, entry.items, entry.bytes));
      if (!isRefresh) onHit(entry);
      if (!entry.isFresh) stale.push(place);
      return false;
    });
    if (rest.length === 0) return brought;
    if (!isRefresh) onMisses(rest.length);
    const keys = rest.map(({ key }) => key);
    const { found, others = [] } = await loader.fetch(keys, call);
    rest.forEach((place, index) => {
      brought.set(place.name, keep(trip, place, found[index] ?? []));
    });
    if (others.length <= maxOthers)
      for (const [key, items] of others) keep(trip, placeOf(loader, sharers, key), items);
    return brought;
  };
}

/** Nothing for what cannot be written, such as an entity that lacks a required field: it is given, and not kept. */
function written(desc: DescMessage, entities: readonly Message[]): Uint8Array | undefined {
  try {
    return writeEntities(desc, entities);
  } catch {
    return undefined;
  }
}

/** Gives the messages to the first who takes them, and copies to all others. */
function handOut(
  desc: DescMessage,
  items: readonly Message[],
  bytes: Uint8Array | undefined,
): () => readonly Message[] {
  // Whoever is first may change what it gets.
  const originals = bytes === undefined ? items.map((item) => clone(desc, item)) : [];
  let first: readonly Message[] | undefined = items;
  return () => {
    const given = first;
    first = undefined;
    if (given !== undefined) return given;
    return bytes === undefined ? originals.map((item) => clone(desc, item)) : readEntities(desc, bytes);
  };
}
