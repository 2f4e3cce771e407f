import { hash } from "node:crypto";
import type { EntityKey } from "../loaders/key.ts";
import type { CachedLoader } from "./entity-cache.ts";

/** Where the entities of a key are kept for those who share them. */
export interface Place {
  readonly key: EntityKey;
  /** Names the entry: 43 characters of SHA-256. */
  readonly name: string;
  /** Names the mark that the key was forgotten, for whomever it was kept; `undefined` if that never happens. */
  readonly mark: string | undefined;
}

/**
 * The place of a key.
 *
 * @param sharers from `sharersOf`
 */
export function placeOf(loader: CachedLoader, sharers: string, key: EntityKey): Place {
  const { name, entity, rule } = loader;
  return {
    key,
    // JSON keeps apart what UTF-8 does not: a key can hold half a surrogate pair.
    name: hashOf([name, entity.typeName, rule.scope, sharers, key.text]),
    mark: rule.forget && markOf(loader, key),
  };
}

/** The name of the mark that a key was forgotten. */
export function markOf({ name }: Pick<CachedLoader, "name">, { text }: EntityKey): string {
  return hashOf([name, "forgotten", text]);
}

function hashOf(parts: readonly string[]): string {
  return hash("sha256", JSON.stringify(parts), "base64url");
}
