import type { SharingScope } from "../../sharing.ts";

/** How long entities are kept, and who shares them. */
export interface EntityCacheOptions {
  /** How long an entity is given again as it is, in milliseconds. */
  readonly ttlMs: number;
  /**
   * Who shares it: everyone (`public`), the callers of one tenant (`tenant`), or nobody (`principal`: one caller, with the
   * same roles). The upstream is told no more of a caller than what all who share have in common, so that an entity which
   * depends on who asks must not be shared. Default: `principal`.
   */
  readonly scope?: SharingScope;
  /** How long after `ttlMs` it may still be given while a new one is fetched, in milliseconds. Default: 0. */
  readonly staleMs?: number;
}

/** The same, ready to be looked up. */
export interface EntityRule {
  readonly ttlMs: number;
  readonly staleMs: number;
  /** How long it is known that there is nothing, in milliseconds; `undefined` if that is not kept. */
  readonly missingTtlMs: number | undefined;
  readonly scope: SharingScope;
  /** The methods of the upstream after which entities are forgotten; `undefined` if there are none. */
  readonly forget: readonly string[] | undefined;
}

/** Whatever a rule is made from. */
export interface AnyEntityCacheOptions extends EntityCacheOptions {
  readonly missingTtlMs?: number;
  readonly forget?: Readonly<Record<string, unknown>>;
}

const scopes: readonly string[] = ["public", "tenant", "principal"] satisfies readonly SharingScope[];

/**
 * Makes the rule. Adds to the problems what cannot be.
 *
 * @param many whether a key has many entities: none is then an answer like any other
 */
export function entityRule(options: AnyEntityCacheOptions, many: boolean, problems: string[]): EntityRule {
  const { ttlMs, staleMs = 0, missingTtlMs, scope = "principal", forget } = options;
  const atLeast = (name: string, value: number | undefined, least: number): void => {
    if (value !== undefined && !(Number.isFinite(value) && value >= least))
      problems.push(`cache.${name} must be a number of milliseconds of at least ${least}, got ${value}`);
  };
  atLeast("ttlMs", ttlMs, 1);
  atLeast("staleMs", staleMs, 0);
  atLeast("missingTtlMs", missingTtlMs, 1);
  if (!scopes.includes(scope)) problems.push(`cache.scope must be one of ${scopes.join(", ")}, got ${scope}`);
  return {
    ttlMs,
    staleMs,
    missingTtlMs: many ? ttlMs : missingTtlMs,
    scope,
    forget: forget && Object.keys(forget),
  };
}
