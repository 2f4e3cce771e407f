import type { DescField, DescMessage, DescMethod } from "@bufbuild/protobuf";
import type { App } from "../../application.ts";
import type { AnyLoader, LoaderWay } from "../../consolidation/loaders/loader.ts";
import { compilePath } from "../../consolidation/views/path.ts";
import type { Convertible, FieldPlan } from "../../consolidation/views/source.ts";
import type { CacheRule } from "../../policy/cache-rule.ts";
import { declaration } from "../../upstream/upstream.ts";

/** How the entities in the answer of a method are found by their keys. */
export interface EntityKeys {
  readonly kind: LoaderWay["kind"];
  /** The parts of the key, in an entity. */
  readonly parts: readonly DescField[];
  /** For each part, the fields of other messages that hold it. */
  readonly heldBy: readonly (readonly DescField[])[];
  /** Whether the answer has further pages, all of which the loader fetches as long as it need not use another way. */
  readonly paged: boolean;
  /** How long the loader keeps what it has fetched, and for whom, under the same condition. */
  readonly cache: CacheRule | undefined;
  /** What the loader uses in its place where the service does not have the method, the best first: `crates.listKeepers`. */
  readonly otherwise: readonly string[];
}

/** The keys by which loaders look for entities, by the methods that they fetch with: several can use the same one. */
export type LoaderKeys = ReadonlyMap<DescMethod, readonly EntityKeys[]>;

/** Reads off the loaders, and off the views that use them, by which keys they look for what. */
export function loaderKeysOf({ loaders, views }: Pick<App, "loaders" | "views">): LoaderKeys {
  const relations = views.flatMap((view) => relationsIn(view, new Set()));
  const all = new Set([...loaders, ...relations.map(({ loader }) => loader)]);
  const ways = [...all].flatMap((loader) =>
    loader.ways.map((way) => ({ method: way.method, keys: keysOf(way, loader, relations) })),
  );
  return new Map(
    [...Map.groupBy(ways, ({ method }) => method)].map(([method, ways]) => [
      method,
      ways.map(({ keys }) => keys),
    ]),
  );
}

function keysOf(way: LoaderWay, loader: AnyLoader, relations: readonly Relation[]): EntityKeys {
  const { cache } = loader;
  const isFirst = way === loader.ways[0];
  const own = relations.filter((relation) => relation.loader === loader);
  return {
    kind: way.kind,
    paged: way.paged && isFirst,
    cache: isFirst && cache ? { ttlMs: cache.ttlMs, staleMs: cache.staleMs, scope: cache.scope } : undefined,
    otherwise: isFirst ? loader.ways.slice(1).map(nameOf) : [],
    parts: way.key.flatMap((path) => fieldAt(loader.entity, path)),
    heldBy: way.key.map((_, part) => own.flatMap(({ from, reads }) => fieldAt(from, reads[part] ?? ""))),
  };
}

function nameOf({ upstream, method }: LoaderWay): string {
  return `${upstream[declaration].name}.${method.localName}`;
}

/** A use of a loader. */
interface Relation {
  readonly loader: AnyLoader;
  readonly from: DescMessage;
  /** The paths to the parts of the key. */
  readonly reads: readonly string[];
}

function relationsIn({ from, fields }: Convertible, seen: Set<Convertible>): Relation[] {
  return Object.values(fields).flatMap((plan) => relationsOf(plan, from, seen));
}

function relationsOf(plan: FieldPlan, from: DescMessage, seen: Set<Convertible>): Relation[] {
  const { loader, reads, view, into, cases = {} } = plan;
  const inside = [
    ...Object.values(cases).flatMap((plan) => relationsOf(plan, from, seen)),
    ...(into === undefined || loader === undefined ? [] : relationsOf(into, loader.entity, seen)),
  ];
  const own = loader === undefined ? [] : [{ loader, from, reads }];
  if (view === undefined || seen.has(view)) return [...own, ...inside];
  seen.add(view);
  return [...own, ...inside, ...relationsIn(view, seen)];
}

function fieldAt(desc: DescMessage, path: string): DescField[] {
  const compiled = compilePath(desc, path);
  return typeof compiled === "string" ? [] : compiled.fields.slice(-1);
}
