import type DataLoader from "dataloader";
import type { EntityCache } from "../entities/entity-cache.ts";
import type { EntityKey } from "./key.ts";

/** What the loaders have fetched, or are fetching, for one call. */
export interface LoaderScope {
  readonly keep: "call" | "batch";
  readonly batches: Map<object, DataLoader<EntityKey, unknown, string>>;
  /** What is kept beyond the call; absent where nothing is. */
  readonly entities: EntityCache | undefined;
}

/**
 * An empty scope. What is fetched is kept for the call; in a stream only for the batch that it came with, so that each
 * message is joined with what is true then, and a long stream holds no more than a short one.
 */
export function createLoaderScope(keep: LoaderScope["keep"], entities?: EntityCache): LoaderScope {
  return { keep, batches: new Map(), entities };
}
